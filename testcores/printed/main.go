// SPDX-License-Identifier: Apache-2.0

// Goroutines whose calls have arguments of every shape that the runtime prints in a way of its own, stacks around its limit
// of frames, states that headers tell, and profiler labels. The program prints runtime.Stack(all) between two marks on
// standard error, writes its debug=1 profile, and takes a SIGABRT, which leaves a core of the same moment.
//
//	printed FOLDER     without GOTRACEBACK, by which the runtime would print its own calls too
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

var never = make(chan int)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func settle() {
	for before, same := -1, 0; same < 3; time.Sleep(60 * time.Millisecond) {
		if now := runtime.NumGoroutine(); now == before {
			same++
		} else {
			before, same = now, 0
		}
	}
}

// A goroutine's record: arm64 keeps it in a register of its own, amd64 in another. (assembly)
func getg() unsafe.Pointer

// The runtime notes when a goroutine began to wait only when the collector meets it, and prints whole minutes: a test cannot
// wait for them. The field's place is that of the releases up to 1.22. Half minutes: a core does not tell its own instant.
func pretendToWait(g unsafe.Pointer, wait time.Duration) {
	*(*int64)(unsafe.Add(g, 168)) = nanotime() - int64(wait)
}

//go:linkname nanotime runtime.nanotime
func nanotime() int64

//go:linkname setLabels runtime/pprof.runtime_setProfLabel
func setLabels(labels unsafe.Pointer)

func startHeaders() {
	go func() {
		runtime.LockOSThread()
		<-never
	}()
	var mutex sync.Mutex
	mutex.Lock()
	go mutex.Lock()
	gs := make(chan unsafe.Pointer)
	for _, wait := range []time.Duration{30, 90, 150} {
		go func() {
			gs <- getg()
			<-never
		}()
		g := <-gs
		time.Sleep(20 * time.Millisecond)
		if strings.HasPrefix(runtime.Version(), "go1.19") {
			pretendToWait(g, wait*time.Second)
		}
	}
	for i := 0; i < 2; i++ {
		go func() {
			runtime.LockOSThread()
			gs <- getg()
			select {}
		}()
		g := <-gs
		time.Sleep(20 * time.Millisecond)
		if strings.HasPrefix(runtime.Version(), "go1.19") && i == 1 {
			pretendToWait(g, 150*time.Second)
		}
	}
}

func startLabels() {
	do := func(pairs ...string) {
		pprof.Do(context.Background(), pprof.Labels(pairs...), func(context.Context) { go labelled(); go labelled() })
	}
	do("a", "b")
	do("request", "a \"b\" {c}\t\\", "tenant", "zwölf €\u00a0\u200b\U0001f600\xff\x00\x7f")
	do("", "")
	do()
	var many []string
	for i := 0; i < 30; i++ {
		many = append(many, fmt.Sprintf("key%d", i), strings.Repeat("v", i))
	}
	do(many[:16]...)
	do(many[:18]...)
	do(many...)
	go func() {
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("outer", "1")))
		pprof.Do(pprof.WithLabels(context.Background(), pprof.Labels("outer", "1")), pprof.Labels("inner", "2"),
			func(context.Context) { labelled() })
	}()
}

//go:noinline
func labelled() { <-never }

// What else may stand where labels do: the runtime's own profile would follow it.
func startNonsense() {
	words := make([]uintptr, 64)
	for i := range words {
		words[i] = ^uintptr(0) - uintptr(i)
	}
	self := make([]unsafe.Pointer, 64)
	for i := range self {
		self[i] = unsafe.Pointer(&self[0])
	}
	for _, p := range []unsafe.Pointer{unsafe.Pointer(&words[0]), unsafe.Pointer(&self[0]), unsafe.Pointer(new(int))} {
		p := p
		go func() {
			setLabels(p)
			nonsense()
		}()
	}
}

//go:noinline
func nonsense() { <-never }

func main() {
	startArguments()
	startDepths()
	startHeaders()
	startLabels()
	settle()
	file, err := os.Create(filepath.Join(os.Args[1], "debug1.txt"))
	check(err)
	check(pprof.Lookup("goroutine").WriteTo(file, 1))
	check(file.Close())
	startNonsense()
	settle()
	stacks := make([]byte, 64<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	fmt.Fprintf(os.Stderr, "STACKS\n%s\nEND\n", stacks)
	debug.SetTraceback("crash")
	check(syscall.Kill(os.Getpid(), syscall.SIGABRT))
	select {}
}
