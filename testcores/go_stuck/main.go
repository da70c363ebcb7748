// SPDX-License-Identifier: Apache-2.0

// Goroutines that nobody can wake any more, and their healthy twins, which somebody still can. Then a SIGQUIT.
//
//	go_stuck FOLDER CASE
package main

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// What was left over of frames that have returned is used anew.
//
//go:noinline
func overwrite(depth int) (sum int) {
	var words [64]int
	for i := range words {
		words[i] = depth + i
	}
	if depth > 0 {
		sum = overwrite(depth - 1)
	}
	return sum + words[depth%64]
}

func main() {
	cases[os.Args[2]]()
	overwrite(1000)
	time.Sleep(200 * time.Millisecond)
	runtime.GC()
	if os.Getenv("GOROUTINES_END") == "wait" {
		os.WriteFile(os.Args[1]+"/debug1.txt", nil, 0o600)
		os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	}
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}
