// SPDX-License-Identifier: Apache-2.0

// A Go process that is looked at while it runs.
//
//	live_go parked FILE   goroutines in known places; for each line on standard input they are written to the file, as debug=1
//	live_go busy COUNT    so many parked goroutines, beside others that pass messages, lock, grow their stacks, begin and end
//	live_go many COUNT    so many parked goroutines of several shapes
//	live_go serve COUNT   the same, with net/http/pprof at the address it prints, and /gap: the longest time in microseconds
//	                      between two ticks of a millisecond since that was asked last
package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	mutex     sync.Mutex
	readWrite sync.RWMutex
	group     sync.WaitGroup
	condition = sync.NewCond(&sync.Mutex{})
	never     = make(chan int)
	full      = make(chan string, 3)
)

//go:noinline
func nested(depth int, park func()) {
	var frame [64]byte
	frame[depth%64] = 1
	if depth > 0 {
		nested(depth-1, park)
	} else {
		park()
	}
	_ = frame[depth%64]
}

func receive()    { <-never }
func send()       { full <- "one too many" }
func receiveNil() { var nothing chan int; <-nothing }
func lock()       { mutex.Lock() }
func lockRead()   { readWrite.RLock() }
func lockWrite()  { readWrite.Lock() }
func waitGroup()  { group.Wait() }
func sleep()      { time.Sleep(time.Hour) }
func choose() {
	select {
	case <-never:
	case full <- "never":
	}
}
func waitCondition() {
	condition.L.Lock()
	condition.Wait()
}
func accept() {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	listener.Accept()
}
func systemCall() {
	var pipe [2]int
	syscall.Pipe(pipe[:])
	syscall.Read(pipe[0], make([]byte, 1))
}
func panicking() {
	defer func() {
		recover()
		<-never
	}()
	var nothing *int
	*nothing = 1
}

var shapes = []func(){receive, send, receiveNil, lock, lockRead, lockWrite, waitGroup, sleep, choose, waitCondition, panicking}

func hold() {
	mutex.Lock()
	readWrite.Lock()
	group.Add(1)
	for i := 0; i < cap(full); i++ {
		full <- "kept"
	}
}

func parked(file string) {
	for i, shape := range shapes {
		for j := 0; j <= i; j++ {
			go nested(j%3*4, shape)
		}
	}
	for i := 0; i < 3; i++ {
		go pprof.Do(context.Background(), pprof.Labels("kind", "labelled", "of", strconv.Itoa(i%2)), func(context.Context) { receive() })
	}
	go nested(2000, receive) // a stack of many pages
	go accept()
	go systemCall()
	time.Sleep(500 * time.Millisecond)
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		output, _ := os.Create(file)
		pprof.Lookup("goroutine").WriteTo(output, 1)
		output.Close()
		fmt.Println("written")
	}
}

func pass(from, to chan int) {
	for number := range from {
		nested(number%100, func() {})
		to <- number + 1
	}
}

func contend(lock *sync.Mutex) {
	for {
		lock.Lock()
		time.Sleep(10 * time.Microsecond)
		lock.Unlock()
	}
}

func beget() {
	for {
		var children sync.WaitGroup
		for i := 0; i < 20; i++ {
			children.Add(1)
			go func(depth int) {
				defer children.Done()
				nested(depth, func() { time.Sleep(time.Millisecond) })
			}(i * 10)
		}
		children.Wait()
	}
}

func busy(count int) {
	for i := 0; i < count; i++ {
		go nested(i%5, receive)
	}
	for i := 0; i < 10; i++ {
		there, back := make(chan int, i), make(chan int)
		go pass(there, back)
		go pass(back, there)
		there <- i
	}
	var lock sync.Mutex
	for i := 0; i < 10; i++ {
		go contend(&lock)
	}
	for i := 0; i < 5; i++ {
		go beget()
	}
	time.Sleep(200 * time.Millisecond)
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
}

func many(count int) {
	for i := 0; i < count; i++ {
		go nested(i%4, shapes[i%len(shapes)])
	}
	time.Sleep(time.Second)
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
}

// Ticks on a thread of its own, which sleeps in a system call: the scheduler has no say in it.
func tick(longest *atomic.Int64) {
	runtime.LockOSThread()
	last := time.Now()
	for {
		pause := syscall.Timespec{Nsec: 1000000}
		syscall.Nanosleep(&pause, nil)
		now := time.Now()
		if gap := now.Sub(last).Microseconds(); gap > longest.Load() {
			longest.Store(gap)
		}
		last = now
	}
}

func serve(count int) {
	var longest atomic.Int64
	go tick(&longest)
	http.HandleFunc("/gap", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, longest.Swap(0))
	})
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	go http.Serve(listener, nil)
	fmt.Println("http://" + listener.Addr().String())
	many(count)
}

func main() {
	hold()
	count, _ := strconv.Atoi(os.Args[2])
	switch os.Args[1] {
	case "parked":
		parked(os.Args[2])
	case "busy":
		busy(count)
	case "many":
		many(count)
	case "serve":
		serve(count)
	}
}
