// SPDX-License-Identifier: Apache-2.0

// Goroutines that nobody can wake any more, and their healthy twins, which somebody still can. Then a SIGQUIT.
//
//	go_stuck FOLDER CASE
package main

import (
	"os"
	"runtime"
	"strings"
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

// Waits until all others wait or have ended, however busy the machine is.
func settle() {
	text := make([]byte, 4<<20)
	for quiet := 0; quiet < 3; time.Sleep(50 * time.Millisecond) {
		all := string(text[:runtime.Stack(text, true)])
		if strings.Contains(all, "[runnable") || strings.Count(all, "[running") > 1 {
			quiet = 0
		} else {
			quiet++
		}
	}
}

func main() {
	cases[os.Args[2]]()
	settle()
	overwrite(1000)
	runtime.GC()
	if os.Getenv("GOROUTINES_END") == "wait" {
		os.WriteFile(os.Args[1]+"/debug1.txt", nil, 0o600)
		os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	}
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}
