// SPDX-License-Identifier: Apache-2.0

// Goroutine leaks of fifteen shapes, as many of them as wanted: for counts that must be exact, and for benchmarks. At the
// end the program says how many of each shape there are, and dies at once with a kernel core; the runtime prints nothing,
// which would take it minutes with a million goroutines.
//
//	leaks FOLDER COUNT   writes truth.json and its own debug1.txt into the folder, then takes a SIGQUIT
//	leaks serve COUNT    prints the address of net/http/pprof, the truth and "ready", and waits
//	leaks core COUNT     prints the truth and dies with a core; no profile, which would double the memory
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Those that were about to park have done so: on one processor they run while main steps back.
func settle(count int) {
	runtime.GOMAXPROCS(1)
	for atomic.LoadInt64(&arrived) != int64(count) {
		time.Sleep(time.Millisecond)
	}
	for i := 0; i < 1000; i++ {
		runtime.Gosched()
	}
	time.Sleep(100 * time.Millisecond)
}

func start(count int) map[string]int {
	truth := map[string]int{}
	prepare()
	for i := 0; i < count; i++ {
		shape := shapes[i%len(shapes)]
		go shape.leak()
		truth["main."+shape.name]++
	}
	settle(count)
	return truth
}

// Past the runtime's handler, which would print all stacks first.
func die() {
	action := struct{ handler, flags, restorer, mask uint64 }{}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGQUIT), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		panic(errno)
	}
	check(syscall.Kill(syscall.Getpid(), syscall.SIGQUIT))
	select {}
}

func writeFiles(folder string, truth []byte) {
	check(os.WriteFile(filepath.Join(folder, "truth.json"), truth, 0o644))
	file, err := os.Create(filepath.Join(folder, "debug1.txt"))
	check(err)
	check(pprof.Lookup("goroutine").WriteTo(file, 1))
	check(file.Close())
}

func main() {
	count, err := strconv.Atoi(os.Args[2])
	check(err)
	truth, err := json.Marshal(start(count))
	check(err)
	switch os.Args[1] {
	case "serve":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		go http.Serve(listener, nil)
		fmt.Printf("http://%s\n%s\nready\n", listener.Addr(), truth)
		runtime.GOMAXPROCS(runtime.NumCPU())
		bufio.NewScanner(os.Stdin).Scan()
	case "core":
		fmt.Println(string(truth))
		die()
	default:
		writeFiles(os.Args[1], truth)
		die()
	}
}
