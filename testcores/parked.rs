// SPDX-License-Identifier: Apache-2.0
//
// Rust threads in the standard library's waits: Mutex, Condvar, a channel's recv, park, join, sleep; through generics, trait
// objects and closures. Built with both manglings. The truth is written by truth_calls.c.

use std::ffi::CString;
use std::os::raw::{c_char, c_int};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// std::hint::black_box, for compilers older than Rust 1.66.
fn black_box<T>(value: T) -> T {
    // SAFETY: the copy is the only one that lives on.
    unsafe {
        let copy = std::ptr::read_volatile(&value);
        std::mem::forget(value);
        copy
    }
}

extern "C" {
    fn testcore_group(name: *const c_char, count: c_int, frames: *const c_char, leaf: *const c_char) -> c_int;
    fn testcore_arrive(group: c_int);
    fn testcore_write(signal_number: c_int, signal_group: c_int);
    fn testcore_aborts() -> c_int;
}

const SIGABRT: c_int = 6;

fn group(name: &str, count: c_int, frames: &str) -> c_int {
    // The truth keeps the pointers: the strings are never freed.
    let name = CString::new(name).unwrap().into_raw();
    let frames = CString::new(frames).unwrap().into_raw();
    unsafe { testcore_group(name, count, frames, std::ptr::null()) }
}

fn arrive(group: c_int) {
    unsafe { testcore_arrive(group) }
}

static HELD: Mutex<i32> = Mutex::new(0);
static GATE: Mutex<bool> = Mutex::new(false);
static CONDITION: Condvar = Condvar::new();
static SINK: AtomicI32 = AtomicI32::new(0);

#[inline(never)]
fn keep() {
    SINK.fetch_add(1, Ordering::SeqCst);
}

#[inline(never)]
fn lock_mutex(group: c_int) {
    arrive(group);
    let guard = HELD.lock().unwrap();
    black_box(*guard);
    keep();
}

#[inline(never)]
fn wait_condition(group: c_int) {
    let mut open = GATE.lock().unwrap();
    arrive(group);
    while !*open {
        open = CONDITION.wait(open).unwrap();
    }
    keep();
}

#[inline(never)]
fn receive(group: c_int, receiver: Receiver<String>) {
    arrive(group);
    black_box(receiver.recv().ok());
    keep();
}

#[inline(never)]
fn park_thread(group: c_int) {
    arrive(group);
    loop {
        thread::park();
        keep();
    }
}

#[inline(never)]
fn sleep_long(group: c_int) {
    arrive(group);
    thread::sleep(Duration::from_secs(86400));
    keep();
}

#[inline(never)]
fn generic<T: Default + std::fmt::Debug>(group: c_int, items: Vec<T>) {
    black_box(items.len());
    lock_mutex(group);
    black_box(items);
}

trait Job: Send {
    fn run(&self, group: c_int);
}

struct Order {
    number: i32,
}

impl Job for Order {
    #[inline(never)]
    fn run(&self, group: c_int) {
        black_box(self.number);
        lock_mutex(group);
        keep();
    }
}

#[inline(never)]
fn run_job(job: Box<dyn Job>, group: c_int) {
    black_box(&job).run(group);
    keep();
}

#[inline(never)]
fn call<F: Fn(c_int)>(function: F, group: c_int) {
    black_box(&function)(group);
    keep();
}

#[inline(never)]
fn call_closure(group: c_int) {
    let extra = black_box(1);
    call(
        |group| {
            lock_mutex(group);
            black_box(extra);
        },
        group,
    );
    keep();
}

#[inline(never)]
fn end() {
    let aborts = unsafe { testcore_aborts() } != 0;
    let main = group("main", 1, "rust_parked::end|rust_parked::main");
    arrive(main);
    unsafe { testcore_write(SIGABRT, if aborts { main } else { -1 }) };
    if aborts {
        std::process::abort();
    }
    loop {
        thread::sleep(Duration::from_secs(86400));
        keep();
    }
}

fn start(count: c_int, work: impl Fn() + Send + Sync + 'static) {
    let work = Arc::new(work);
    for _ in 0..count {
        let work = Arc::clone(&work);
        thread::spawn(move || work());
    }
}

fn main() {
    let guard = HELD.lock().unwrap();
    let spawned = "^rust_parked::main::{closure}";
    let frames = |own: &str| format!("{own}|{spawned}");

    let mutex = group("Mutex", 5, &frames("rust_parked::lock_mutex"));
    start(5, move || lock_mutex(mutex));
    let condition = group("Condvar", 3, &frames("rust_parked::wait_condition"));
    start(3, move || wait_condition(condition));
    let parked = group("park", 2, &frames("rust_parked::park_thread"));
    start(2, move || park_thread(parked));
    let sleep = group("sleep", 2, &frames("rust_parked::sleep_long"));
    start(2, move || sleep_long(sleep));
    let generics = group("generic", 2, &frames("rust_parked::lock_mutex|~rust_parked::generic((::)?<.*>)?"));
    start(2, move || generic(generics, vec![Some(1u8)]));
    let job = group(
        "trait object",
        2,
        &frames("rust_parked::lock_mutex|~<?rust_parked::.*[}>]::run|rust_parked::run_job"),
    );
    start(2, move || run_job(Box::new(Order { number: 3 }), job));
    let closure = group(
        "closure",
        2,
        &frames("rust_parked::lock_mutex|^rust_parked::call_closure::{closure}|~rust_parked::call((::)?<.*>)?|rust_parked::call_closure"),
    );
    start(2, move || call_closure(closure));

    let channel_group = group("channel", 1, "rust_parked::receive|^rust_parked::main::{closure}");
    let (sender, receiver) = channel::<String>();
    thread::spawn(move || receive(channel_group, receiver));

    end();
    drop(sender);
    drop(guard);
}
