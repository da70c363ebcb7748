// SPDX-License-Identifier: Apache-2.0

// Goroutines in every kind of wait, printed in every form that Go has: debug=1, debug=2, a heap profile, and by SIGQUIT on
// standard error. All forms show one moment: nothing moves in between but the main goroutine.
//
//	goroutine_waits FOLDER
package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

var (
	mutex sync.Mutex
	inner struct {
		count, spare int
		lock         sync.Mutex
	}
	readWrite sync.RWMutex
	forWrite  sync.RWMutex
	group     sync.WaitGroup
	once      sync.Once
	condition = sync.NewCond(&sync.Mutex{})
	never     = make(chan int)
	full      = make(chan int)
	kept      [][]byte
)

func start(count int, f func()) {
	for i := 0; i < count; i++ {
		go f()
	}
}

func lockMutex()  { mutex.Lock() }
func lockInner()  { inner.lock.Lock() }
func lockRead()   { readWrite.RLock() }
func lockWrite()  { forWrite.Lock() }
func waitGroup()  { group.Wait() }
func runOnce()    { once.Do(func() { <-never }) }
func receive()    { <-never }
func receiveNil() { var nothing chan int; <-nothing }
func send()       { full <- 1 }
func choose() {
	select {
	case <-never:
	case full <- 2:
	}
}
func chooseNothing() { select {} }
func sleep()         { time.Sleep(time.Hour) }

func waitCondition() {
	condition.L.Lock()
	condition.Wait()
}

func onSameLine() { receiveInlined(1); receiveInlined(2) }

func receiveInlined(n int) { never2(n) }

//go:noinline
func never2(n int) { <-never }

type tree[K comparable, V any] struct{ root map[K]V }

//go:noinline
func (t *tree[K, V]) find(key K) V {
	<-never
	return t.root[key]
}

//go:noinline
func recurse(depth int) {
	if depth == 0 {
		<-never
	}
	recurse(depth - 1)
}

func read(connection net.Conn) {
	var bytes [1]byte
	connection.Read(bytes[:])
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func write(folder, profile, name string, debug int) {
	file, err := os.Create(filepath.Join(folder, name))
	check(err)
	check(pprof.Lookup(profile).WriteTo(file, debug))
	check(file.Close())
}

//go:noinline
func keep(size int) { kept = append(kept, make([]byte, size)) }

func main() {
	folder := os.Args[1]
	runtime.MemProfileRate = 1
	for i := 0; i < 10; i++ {
		keep(100000)
	}
	mutex.Lock()
	inner.lock.Lock()
	readWrite.Lock()
	forWrite.RLock()
	group.Add(1)

	start(12, lockMutex)
	start(5, lockInner)
	start(7, lockRead)
	start(1, lockWrite)
	start(3, waitGroup)
	start(4, waitCondition)
	start(2, runOnce)
	start(20, receive)
	start(2, receiveNil)
	start(6, send)
	start(8, choose)
	start(1, chooseNothing)
	start(9, sleep)
	start(3, onSameLine)
	start(2, func() { (&tree[string, int]{}).find("key") })
	start(2, func() { recurse(10) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	start(1, func() { listener.Accept() })
	for i := 0; i < 3; i++ {
		connection, err := net.Dial("tcp", listener.Addr().String())
		check(err)
		go read(connection)
	}
	pprof.Do(context.Background(), pprof.Labels("request", "a \"b\" {c}", "tenant", "x"), func(context.Context) {
		start(4, receive)
	})
	for before := 0; before != runtime.NumGoroutine(); time.Sleep(300 * time.Millisecond) {
		before = runtime.NumGoroutine()
	}
	write(folder, "goroutine", "debug1.txt", 1)
	write(folder, "goroutine", "debug2.txt", 2)
	write(folder, "heap", "heap1.txt", 1)
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}
