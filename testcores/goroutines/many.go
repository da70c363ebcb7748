// SPDX-License-Identifier: Apache-2.0

package main

import "time"

//go:noinline
func deeper(depth int, f func()) {
	if depth == 0 {
		f()
		return
	}
	deeper(depth-1, f)
}

func startMany(count int) {
	mutex.Lock()
	readWrite.Lock()
	group.Add(1)
	full <- "one"
	full <- "two"
	for i := 0; i < count; i++ {
		switch kind := i % 16; kind {
		case 0:
			go receive()
		case 1:
			go lockMutex()
		case 2:
			go lockRead()
		case 3:
			go waitGroup()
		case 4:
			go sleep()
		case 5:
			go choose()
		default:
			go deeper(kind, func() { <-never })
		}
	}
	time.Sleep(200 * time.Millisecond)
}
