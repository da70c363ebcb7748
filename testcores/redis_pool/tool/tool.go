// SPDX-License-Identifier: Apache-2.0

// Package tool has the service's calls of Redis.
package tool

import "github.com/gomodule/redigo/redis"

var Pool = &redis.Pool{MaxActive: 10, Wait: true}

// Holding is called while a connection is held: the program waits until all are.
var Holding = func() {}

//go:noinline
func OnlineUpdate() int {
	connection := Pool.Get()
	defer connection.Close()
	return connection.Do("SET")
}

// The list's items are got by a function that takes a connection of its own, with this one still held.
//
//go:noinline
func MessageList(count int) (total int) {
	connection := Pool.Get()
	defer connection.Close()
	Holding()
	for i := 0; i < count+connection.Do("LRANGE"); i++ {
		total += MessageGet()
	}
	return total
}

//go:noinline
func MessageGet() int {
	connection := Pool.Get()
	defer connection.Close()
	return connection.Do("GET")
}
