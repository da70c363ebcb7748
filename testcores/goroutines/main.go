// SPDX-License-Identifier: Apache-2.0

// Goroutines in every state and shape of stack that a reader of Go programs can meet. At the end the program writes its own
// debug=1 profile and takes a SIGQUIT: with GOTRACEBACK=crash the runtime prints what it knows of every goroutine and dies
// with a core. Profile, dump and core show one moment: nothing moves but the main goroutine and those that spin.
//
//	goroutines FOLDER [MANY]   MANY further goroutines, of 16 kinds
//	GOROUTINES_END=wait        prints "ready" and waits instead of the SIGQUIT
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"
)

var never = make(chan int)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Until no goroutine begins or ends any more. Those that were just made have not run to their places yet.
func settle() {
	for before, same := -1, 0; same < 3; time.Sleep(60 * time.Millisecond) {
		if now := runtime.NumGoroutine(); now == before {
			same++
		} else {
			before, same = now, 0
		}
	}
}

func writeProfile(folder string) {
	file, err := os.Create(filepath.Join(folder, "debug1.txt"))
	check(err)
	check(pprof.Lookup("goroutine").WriteTo(file, 1))
	check(file.Close())
}

func main() {
	folder := os.Args[1]
	if len(os.Args) > 2 {
		count, err := strconv.Atoi(os.Args[2])
		check(err)
		startMany(count)
	} else {
		startWaits()
		startShapes()
		startPanics()
		startForeign()
		runFinalizer()
		labels := pprof.Labels("request", "a \"b\" {c}", "tenant", "x")
		pprof.Do(context.Background(), labels, func(context.Context) {
			for i := 0; i < 3; i++ {
				go labelled()
			}
		})
		startSpinners()
	}
	settle()
	writeProfile(folder)
	if os.Getenv("GOROUTINES_END") == "wait" {
		fmt.Println("ready")
		select {}
	}
	check(syscall.Kill(os.Getpid(), syscall.SIGQUIT))
	select {}
}

//go:noinline
func labelled() { <-never }
