// SPDX-License-Identifier: Apache-2.0

// A service whose Redis pool is used up by functions that take a second connection while they hold one: as many of them as there
// are connections, and all others behind them. Then a SIGQUIT.
//
//	redis_pool FOLDER
package main

import (
	"os"
	"sync"
	"syscall"
	"time"

	"foo/engine"
	"foo/tool"
)

const victims = 300

func main() {
	var all sync.WaitGroup
	all.Add(tool.Pool.MaxActive)
	tool.Holding = func() {
		all.Done()
		all.Wait()
	}
	for i := 0; i < tool.Pool.MaxActive; i++ {
		go new(engine.Client).UnAckMessageLoop()
	}
	all.Wait()
	for i := 0; i < victims; i++ {
		go new(engine.Client).Reader()
	}
	time.Sleep(300 * time.Millisecond)
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}
