// SPDX-License-Identifier: Apache-2.0

// Redigo's own pool, used up by functions that take a second connection while they hold one, or only busy. Then a SIGQUIT.
//
//	go_redigo FOLDER CASE
package main

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
)

const size, victims = 7, 50

// A connection to no server.
type blank struct{}

func (blank) Close() error                                   { return nil }
func (blank) Err() error                                     { return nil }
func (blank) Do(string, ...interface{}) (interface{}, error) { return int64(1), nil }
func (blank) Send(string, ...interface{}) error              { return nil }
func (blank) Flush() error                                   { return nil }
func (blank) Receive() (interface{}, error)                  { return int64(1), nil }

var (
	pool = &redis.Pool{
		MaxActive: size, MaxIdle: 3, Wait: true, IdleTimeout: time.Minute,
		Dial: func() (redis.Conn, error) { return blank{}, nil },
	}
	holding = func() {}
	other   = &redis.Pool{
		MaxActive: size, MaxIdle: 3, Wait: true,
		Dial: func() (redis.Conn, error) { return blank{}, nil },
	}
)

//go:noinline
func online() {
	conn := pool.Get()
	defer conn.Close()
	conn.Do("SET")
}

//go:noinline
func unacked() {
	conn := pool.Get()
	defer conn.Close()
	holding()
	for i := 0; i < 3; i++ {
		conn.Do("LRANGE")
		message(i)
	}
}

//go:noinline
func message(number int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	conn, err := pool.GetContext(ctx)
	if err != nil {
		return
	}
	conn.Do("GET", number)
	conn.Close()
}

// The first one is back before the second is taken; by an interface, so that the code does not show it.
//
//go:noinline
func apart() {
	conn := pool.Get()
	conn.Do("PING")
	conn.Close()
	online()
}

// It holds one of another pool, as large.
//
//go:noinline
func crossed() {
	conn := other.Get()
	defer conn.Close()
	conn.Do("GET")
	online()
}

//go:noinline
func kept() {
	conn := pool.Get()
	defer conn.Close()
	holding()
}

func main() {
	conn := pool.Get()
	conn.Do("PING")
	conn.Close()
	var all sync.WaitGroup
	all.Add(size)
	never := make(chan struct{})
	switch os.Args[2] {
	case "nested":
		holding = func() {
			all.Done()
			all.Wait()
		}
		for i := 0; i < size; i++ {
			go unacked()
		}
		all.Wait()
	case "busy":
		// They come to their second one after the others have taken all.
		for i := 0; i < victims; i++ {
			apart()
		}
		holding = func() {
			all.Done()
			<-never
		}
		for i := 0; i < size; i++ {
			go kept()
		}
		all.Wait()
		for i := 0; i < victims; i++ {
			go apart()
		}
	case "crossed":
		holding = func() {
			all.Done()
			<-never
		}
		for i := 0; i < size; i++ {
			go kept()
		}
		all.Wait()
		for i := 0; i < size; i++ {
			go crossed()
		}
	}
	for i := 0; i < victims; i++ {
		go online()
	}
	time.Sleep(300 * time.Millisecond)
	if os.Getenv("GOROUTINES_END") == "wait" {
		os.Stdout.WriteString("ready\n")
		time.Sleep(time.Hour)
	}
	syscall.Kill(os.Getpid(), syscall.SIGQUIT)
	select {}
}
