// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package main

/*
#include <unistd.h>

extern void goCallback(int n);

static void pause_in_c(int n) { (void)n; pause(); }
__attribute__((noinline)) static void call_back(int n) { goCallback(n); }
__attribute__((noinline)) static void call_deeper(int n) { if (n > 0) call_deeper(n - 1); else goCallback(n); }
*/
import "C"

//export goCallback
func goCallback(n C.int) {
	if n > 0 {
		callBack(int(n) - 1)
	}
	<-never
}

//go:noinline
func callBack(n int) { C.call_back(C.int(n)) }

// In C, in Go that C called, and in Go that C called that Go called …
func startForeign() {
	go C.pause_in_c(1)
	go func() { C.pause_in_c(2) }()
	go callBack(0)
	go callBack(2)
	go C.call_deeper(3)
}
