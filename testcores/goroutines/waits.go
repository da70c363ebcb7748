// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

var (
	mutex     sync.Mutex
	readWrite sync.RWMutex
	forWrite  sync.RWMutex
	group     sync.WaitGroup
	once      sync.Once
	condition = sync.NewCond(&sync.Mutex{})
	full      = make(chan string, 2)
	big       = make(chan [3000]byte)
	holdMap   = map[string]*sync.Mutex{}
)

func start(count int, f func()) {
	for i := 0; i < count; i++ {
		go f()
	}
}

func lockMutex()  { mutex.Lock() }
func lockRead()   { readWrite.RLock() }
func lockWrite()  { forWrite.Lock() }
func lockWrite2() { readWrite.Lock() }
func waitGroup()  { group.Wait() }
func runOnce()    { once.Do(func() { <-never }) }
func receive()    { <-never }
func receiveNil() { var nothing chan int; <-nothing }
func sendNil()    { var nothing chan int; nothing <- 1 }
func send()       { full <- "more" }
func sendBig()    { big <- [3000]byte{1} }
func sleep()      { time.Sleep(time.Hour) }
func chooseNone() { select {} }
func rangeOver() {
	for range never {
	}
}
func receiveTwo() { _, ok := <-never; print(ok) }
func chooseNil() {
	var a, b chan int
	select {
	case <-a:
	case b <- 1:
	case <-never:
	}
}

func choose() {
	select {
	case <-never:
	case full <- "x":
	case <-time.After(time.Hour):
	}
}

func chooseMany() {
	a, b, c, d := make(chan int), make(chan string), make(chan struct{}), make(chan [64]byte)
	select {
	case <-a:
	case v := <-b:
		print(v)
	case c <- struct{}{}:
	case d <- [64]byte{}:
	case <-never:
	}
}

func waitCondition() {
	condition.L.Lock()
	condition.Wait()
}

// In a system call that the runtime knows of: a thread sits in it.
func readPipe() {
	var ends [2]int
	check(syscall.Pipe(ends[:]))
	var bytes [1]byte
	syscall.Read(ends[0], bytes[:])
}

// In one that it does not: the goroutine counts as running.
func rawPause() { syscall.RawSyscall(syscall.SYS_PPOLL, 0, 0, 0) }

func readFile() {
	reader, writer, err := os.Pipe()
	check(err)
	io.ReadAll(reader)
	runtime.KeepAlive(writer)
}

func locked() {
	runtime.LockOSThread()
	<-never
}

func lockedCall() {
	runtime.LockOSThread()
	readPipe()
}

func dial(address string) net.Conn {
	connection, err := net.Dial("tcp", address)
	check(err)
	return connection
}

func startNetwork() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		for {
			connection, err := listener.Accept()
			check(err)
			go func() {
				var bytes [1]byte
				connection.Read(bytes[:])
			}()
		}
	}()
	for i := 0; i < 3; i++ {
		go io.Copy(io.Discard, dial(listener.Addr().String()))
	}
	go func() { // fills the buffers of both ends, and waits to write
		connection := dial(listener.Addr().String())
		for block := make([]byte, 1<<20); ; {
			if _, err := connection.Write(block); err != nil {
				return
			}
		}
	}()
}

func startWaits() {
	mutex.Lock()
	readWrite.Lock()
	forWrite.RLock()
	group.Add(1)
	full <- "one"
	full <- "two"
	start(5, lockMutex)
	start(3, lockRead)
	start(2, lockWrite)
	start(1, lockWrite2)
	start(3, waitGroup)
	start(4, waitCondition)
	start(2, runOnce)
	start(9, receive)
	start(2, receiveNil)
	start(1, sendNil)
	start(6, send)
	start(2, sendBig)
	start(4, choose)
	start(2, chooseMany)
	start(1, chooseNil)
	start(1, chooseNone)
	start(3, sleep)
	start(2, rangeOver)
	start(2, receiveTwo)
	start(2, readPipe)
	start(1, readFile)
	start(1, locked)
	start(1, lockedCall)
	startNetwork()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	start(1, func() { <-signals })
	time.AfterFunc(time.Millisecond, func() { <-never })
	time.AfterFunc(time.Hour, func() {})
	go func() { // a ticker's channel
		for range time.NewTicker(time.Hour).C {
		}
	}()
	reader, _ := io.Pipe()
	go io.ReadAll(reader)
}
