// SPDX-License-Identifier: Apache-2.0

// Passes through the runtime's code that moves between stacks again and again, for a tracer that stops it there.
//
//	switches     with GOMAXPROCS=1, so that one thread does it all
package main

import (
	"fmt"
	"runtime"
	"time"
)

var sink int64
var start = time.Now()

//go:noinline
func grow(depth int, done chan bool) int {
	var block [256]byte
	block[depth] = byte(depth)
	if depth == 0 {
		done <- true
		return int(block[0])
	}
	return grow(depth-1, done) + int(block[depth])
}

//go:noinline
func round() {
	done := make(chan bool)
	sink += time.Now().Unix()
	sink += int64(time.Since(start))
	callC()
	go func() { grow(40, done) }()
	<-done
	runtime.Gosched()
}

func main() {
	fmt.Println("ready")
	for {
		round()
	}
}
