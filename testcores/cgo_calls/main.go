// SPDX-License-Identifier: Apache-2.0

// Goroutines in C, in Go that C called, in C that Go called that C called …; threads of C's in Go; a lock of C's that waits
// behind another. Writes its debug=1 to FOLDER/debug1.txt and takes a SIGQUIT, or with GOROUTINES_END=wait says "ready" and
// waits. As a library for C (-buildmode=c-shared) CgoCallsStart does the first part.
//
//	cgo_calls FOLDER
package main

/*
#cgo CFLAGS: -O1
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

extern void goNested(int depth, int in_c);
extern void goServe(int depth);
extern void goVisit(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int sink;

// Each does something after the call, and has a frame of a size of its own.
__attribute__((noinline)) static void c_pause(int n) { volatile char frame[100]; frame[n] = 1; pause(); sink += frame[n]; }
__attribute__((noinline)) static void c_nested(int depth, int in_c) { volatile char frame[300]; frame[depth] = 1; goNested(depth, in_c); sink += frame[depth]; }
__attribute__((noinline)) static void c_around(int depth, int in_c) { c_nested(depth, in_c); sink++; }
__attribute__((noinline)) static void c_sized(int depth, int size) { volatile char *frame = __builtin_alloca(size); frame[depth] = 1; goNested(depth, 0); sink += frame[depth]; }
__attribute__((noinline)) static void c_serve(int depth) { goServe(depth); sink++; }
static void *c_thread(void *context) { c_serve(*(int *)context); return NULL; }
__attribute__((noinline)) static void c_start(int *depth) { pthread_t thread; pthread_create(&thread, NULL, c_thread, depth); pthread_detach(thread); }
__attribute__((noinline)) static void c_hold(void) { pthread_mutex_lock(&lock); c_pause(1); sink++; }
__attribute__((noinline)) static void visit(int count) { while (count-- > 0) goVisit(); sink++; }
__attribute__((noinline)) static void c_wait(void) { pthread_mutex_lock(&lock); sink++; }
*/
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

var never = make(chan int)

//export goNested
func goNested(depth, inC C.int) {
	if depth > 1 {
		nested(int(depth)-1, int(inC))
	} else if inC != 0 {
		C.c_pause(1)
	} else {
		<-never
	}
}

//go:noinline
func nested(depth, inC int) { C.c_around(C.int(depth), C.int(inC)) }

//export goServe
func goServe(depth C.int) {
	if depth > 0 {
		nested(int(depth), 0)
	}
	<-never
}

var table sync.Mutex

//export goVisit
func goVisit() {
	table.Lock()
	table.Unlock()
}

// visitAll has the lock that C's calls back want.
//
//go:noinline
func visitAll() {
	table.Lock()
	defer table.Unlock()
	C.visit(2)
}

//go:noinline
func holdLock() { C.c_hold() }

//go:noinline
func waitForLock() { C.c_wait() }

func start() {
	go nested(3, 1)
	go nested(3, 0)
	go C.c_sized(1, 5000)
	go func() { C.c_pause(2) }()
	depths := (*[2]C.int)(C.malloc(8))
	depths[0], depths[1] = 0, 2
	C.c_start(&depths[0])
	C.c_start(&depths[1])
	go visitAll()
	go holdLock()
	time.Sleep(100 * time.Millisecond)
	go waitForLock()
	time.Sleep(200 * time.Millisecond)
}

//export CgoCallsStart
func CgoCallsStart() { start() }

func main() {
	start()
	file, err := os.Create(filepath.Join(os.Args[1], "debug1.txt"))
	if err != nil {
		panic(err)
	}
	pprof.Lookup("goroutine").WriteTo(file, 1)
	file.Close()
	if os.Getenv("GOROUTINES_END") == "wait" {
		fmt.Println("ready")
		<-never
	}
	syscall.Kill(syscall.Getpid(), syscall.SIGQUIT)
	<-never
}
