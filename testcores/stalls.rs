// SPDX-License-Identifier: Apache-2.0
//
// `stalls CASE` in Rust. Its Mutex keeps no owner: two threads that wait for each other cannot be proved from memory,
// and nobody may be blamed for it. Roles are the truth's groups, as in stalls.c; the truth is written by truth_calls.c.

use std::ffi::CString;
use std::os::raw::{c_char, c_int};
use std::sync::{Barrier, Condvar, Mutex, RwLock};
use std::thread;
use std::time::Duration;

extern "C" {
    fn testcore_group(name: *const c_char, count: c_int, frames: *const c_char, leaf: *const c_char) -> c_int;
    fn testcore_arrive(group: c_int);
    fn testcore_write(signal_number: c_int, signal_group: c_int);
    fn testcore_aborts() -> c_int;
}

fn group(name: &str, count: c_int) -> c_int {
    // The truth keeps the pointers: the strings are never freed.
    let name = CString::new(name).unwrap().into_raw();
    let frames = CString::new("").unwrap().into_raw();
    unsafe { testcore_group(name, count, frames, std::ptr::null()) }
}

fn arrive(group: c_int) {
    unsafe { testcore_arrive(group) }
}

struct Account {
    balance: Mutex<i64>,
}

static ALICE: Account = Account { balance: Mutex::new(100) };
static BOB: Account = Account { balance: Mutex::new(100) };
static JOBS: Mutex<i64> = Mutex::new(0);
static THERE_IS_WORK: Condvar = Condvar::new();
static TABLE: RwLock<i64> = RwLock::new(0);

#[inline(never)]
fn transfer(from: &Account, to: &Account, both: &Barrier, group: c_int) {
    let mut first = from.balance.lock().unwrap();
    both.wait();
    arrive(group);
    let mut second = to.balance.lock().unwrap();
    *first -= 1;
    *second += 1;
}

#[inline(never)]
fn audit(account: &Account, group: c_int) {
    arrive(group);
    let balance = account.balance.lock().unwrap();
    println!("{}", *balance);
}

#[inline(never)]
fn refresh(group: c_int) {
    let mut table = TABLE.write().unwrap();
    arrive(group);
    loop {
        thread::sleep(Duration::from_secs(3600));
        *table += 1;
    }
}

#[inline(never)]
fn lookup(group: c_int) {
    arrive(group);
    let table = TABLE.read().unwrap();
    println!("{}", *table);
}

fn mutex_cycle() {
    let both: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
    let cycle = group("cycle", 2);
    let behind = group("behind", 12);
    thread::spawn(move || transfer(&ALICE, &BOB, both, cycle));
    thread::spawn(move || transfer(&BOB, &ALICE, both, cycle));
    thread::sleep(Duration::from_millis(100));
    for _ in 0..12 {
        thread::spawn(move || audit(&ALICE, behind));
    }
}

fn rwlock() {
    let head = group("head", 1);
    let waits = group("waits", 12);
    thread::spawn(move || refresh(head));
    thread::sleep(Duration::from_millis(100));
    for _ in 0..12 {
        thread::spawn(move || lookup(waits));
    }
}

#[inline(never)]
fn wait_for_work(group: c_int) {
    arrive(group);
    let mut jobs = JOBS.lock().unwrap();
    loop {
        jobs = THERE_IS_WORK.wait(jobs).unwrap();
    }
}

fn idle() {
    let innocent = group("innocent", 40);
    for _ in 0..40 {
        thread::spawn(move || wait_for_work(innocent));
    }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("mutex-cycle") => mutex_cycle(),
        Some("rwlock") => rwlock(),
        Some("idle") => idle(),
        _ => {
            eprintln!("stalls CASE");
            std::process::exit(2);
        }
    }
    let main = group("main", 1);
    arrive(main);
    unsafe {
        let aborts = testcore_aborts() != 0;
        testcore_write(6, if aborts { main } else { -1 });
        if aborts {
            std::process::abort();
        }
    }
    loop {
        thread::park();
    }
}
