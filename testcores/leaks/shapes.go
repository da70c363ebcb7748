// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// How many goroutines are at the call that they will never come back from.
var arrived int64

func atLeak() { atomic.AddInt64(&arrived, 1) }

type shape struct {
	name string // of the function that leaks; "main.NAME" is in the stacks of this shape and of no other
	leak func()
}

var shapes = []shape{
	{"sendResult", func() { through(3, sendResult) }},
	{"receiveReply", func() { through(4, receiveReply) }},
	{"drainQueue", func() { through(2, drainQueue) }},
	{"waitEither", func() { through(3, waitEither) }},
	{"waitCancelled", func() { through(4, waitCancelled) }},
	{"followTicker", func() { through(3, followTicker) }},
	{"lockForgotten", func() { through(5, lockForgotten) }},
	{"readBehindWriter", func() { through(2, readBehindWriter) }},
	{"waitForGroup", func() { through(4, waitForGroup) }},
	{"waitForSignal", func() { through(3, waitForSignal) }},
	{"receiveNil", func() { through(5, receiveNil) }},
	{"waitForever", func() { through(6, waitForever) }},
	{"copyFromPipe", func() { through(2, copyFromPipe) }},
	{"retryLater", func() { through(5, retryLater) }},
	{"acquireSlot", func() { through(3, acquireSlot) }},
}

//go:noinline
func through(layers int, leak func()) {
	if layers == 0 {
		leak()
		return
	}
	through(layers-1, leak)
}

var (
	forgotten sync.Mutex
	catalogue sync.RWMutex
	batch     sync.WaitGroup
	changed   = sync.NewCond(&sync.Mutex{})
	replies   = make(chan int)
	slots     = make(chan struct{}, 8)
)

// What nobody gives back.
func prepare() {
	forgotten.Lock()
	catalogue.RLock()
	go catalogue.Lock()
	for catalogue.TryRLock() { // until the writer waits
		catalogue.RUnlock()
		time.Sleep(time.Millisecond)
	}
	batch.Add(1)
	for i := 0; i < cap(slots); i++ {
		slots <- struct{}{}
	}
}

// The caller gave up at its timeout; the channel has no room for the result.
//
//go:noinline
func sendResult() {
	result := make(chan int)
	atLeak()
	result <- 1
}

// Everybody waits at one channel that nobody sends to any more.
//
//go:noinline
func receiveReply() {
	atLeak()
	<-replies
}

// The queue is never closed.
//
//go:noinline
func drainQueue() {
	queue := make(chan []byte, 2)
	atLeak()
	for range queue {
	}
}

// Neither the reply nor the end comes.
//
//go:noinline
func waitEither() {
	reply, done := make(chan string), make(chan struct{})
	atLeak()
	select {
	case <-reply:
	case <-done:
	}
}

// Nobody calls cancel.
//
//go:noinline
func waitCancelled() {
	ctx, cancel := context.WithCancel(context.Background())
	_ = cancel
	atLeak()
	<-ctx.Done()
}

// The ticker is never stopped, and nobody asks the loop to end.
//
//go:noinline
func followTicker() {
	ticker := time.NewTicker(24 * time.Hour)
	atLeak()
	for range ticker.C {
	}
}

//go:noinline
func lockForgotten() {
	atLeak()
	forgotten.Lock()
	forgotten.Unlock()
}

//go:noinline
func readBehindWriter() {
	atLeak()
	catalogue.RLock()
	catalogue.RUnlock()
}

// One Done is missing.
//
//go:noinline
func waitForGroup() {
	atLeak()
	batch.Wait()
}

//go:noinline
func waitForSignal() {
	changed.L.Lock()
	atLeak()
	changed.Wait()
}

//go:noinline
func receiveNil() {
	var nothing chan int
	atLeak()
	<-nothing
}

//go:noinline
func waitForever() {
	atLeak()
	select {}
}

// The writer's end was never closed.
//
//go:noinline
func copyFromPipe() {
	reader, _ := io.Pipe()
	atLeak()
	io.Copy(&bytes.Buffer{}, reader)
}

// Backs off for a day.
//
//go:noinline
func retryLater() {
	atLeak()
	time.Sleep(24 * time.Hour)
}

// A semaphore made of a channel, all of its slots lost.
//
//go:noinline
func acquireSlot() {
	atLeak()
	slots <- struct{}{}
}
