// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"reflect"
	"runtime"
	"sort"
	"strings"
	"time"
)

// generics

type tree[K comparable, V any] struct{ root map[K]V }

//go:noinline
func (t *tree[K, V]) find(key K) V {
	<-never
	return t.root[key]
}

//go:noinline
func wait[T any](c chan T) T { return <-c }

type pair[A, B any] struct {
	a A
	b B
}

//go:noinline
func mapAll[T, U any](values []T, f func(T) U) (all []U) {
	for _, value := range values {
		all = append(all, f(value))
	}
	return
}

// inlining

func inlinedThrice(c chan int) int { return inlinedTwice(c) + 1 }
func inlinedTwice(c chan int) int  { return inlinedOnce(c) + 1 }
func inlinedOnce(c chan int) int   { return leaf(c) + 1 }

//go:noinline
func leaf(c chan int) int { return <-c }

func onSameLine() { inlinedOnce(never); inlinedTwice(never) }

// methods, interfaces, wrappers

type doer interface{ do(int) int }

type byValue struct {
	c       chan int
	padding [5]int
}

func (v byValue) do(n int) int { return <-v.c + n }

type byPointer struct{ c chan int }

//go:noinline
func (p *byPointer) do(n int) int { return <-p.c + n }

type embeds struct {
	name string
	*byPointer
}

type embedsInterface struct{ doer }

//go:noinline
func call(d doer) int { return d.do(1) }

//go:noinline
func callFunction(f func(int) int) int { return f(2) }

// closures

//go:noinline
func makeClosure(c chan int) func() func() int {
	return func() func() int {
		n := 1
		return func() int {
			n++
			return <-c + n
		}
	}
}

var packageLevel = func() { <-never }

// frames

//go:noinline
func recurse(depth int) int {
	if depth == 0 {
		return <-never
	}
	return recurse(depth-1) + 1
}

//go:noinline
func even(n int) int {
	if n == 0 {
		return <-never
	}
	return odd(n-1) + 1
}

//go:noinline
func odd(n int) int { return even(n-1) * 2 }

//go:noinline
func large(n int) int {
	var block [40000]byte
	block[n] = byte(n)
	return recurse(3) + int(block[n])
}

//go:noinline
func manyArguments(a, b, c, d, e, f, g, h, i, j, k, l int, m string, n []byte, o interface{}, p float64) int {
	return <-never + a + b + c + d + e + f + g + h + i + j + k + l + len(m) + len(n) + int(p)
}

//go:noinline
func variadic(values ...interface{}) int { return <-never + len(values) }

type text struct{}

func (text) String() string { <-never; return "" }

// defers

//go:noinline
func waitFor(c chan int, n int) { <-c; _ = n }

func deferred(n int) {
	defer waitFor(never, n)
	runtime.Gosched()
}

func deferredInLoop(n int) {
	for i := 0; i < n; i++ {
		defer func(i int) { <-never; _ = i }(i)
	}
}

func deferredMethod(d doer) { defer d.do(7) }

func startShapes() {
	go (&tree[string, int]{}).find("key")
	go (&tree[int, []byte]{}).find(3)
	go (&tree[pair[int, string], *tree[int, int]]{}).find(pair[int, string]{})
	go wait(never)
	go wait(make(chan pair[string, []int]))
	go mapAll([]int{1, 2}, func(n int) string { <-never; return fmt.Sprint(n) })
	start(2, func() { inlinedThrice(never) })
	go inlinedThrice(never)
	start(3, onSameLine)
	value, pointer := byValue{c: never}, &byPointer{never}
	go value.do(1)
	go pointer.do(1)
	go call(value)
	go call(&value)
	go call(pointer)
	go call(embeds{"e", pointer})
	go call(&embeds{"e", pointer})
	go call(embedsInterface{pointer})
	go callFunction(value.do)
	go callFunction(pointer.do)
	go callFunction(func(n int) int { return pointer.do(n) })
	var d doer = value
	go d.do(3)
	go callFunction(d.do)
	go makeClosure(never)()()
	go packageLevel()
	for i := 0; i < 3; i++ {
		i := i
		go func(n int) { <-never; _ = n + i }(i)
	}
	go recurse(60)
	go recurse(150)
	go even(300)
	go large(5)
	go manyArguments(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, "m", []byte("n"), 3, 1.5)
	go variadic(1, "two", 3.0)
	go fmt.Sprintf("%v", text{})
	go deferred(2)
	go deferredInLoop(3)
	go deferredMethod(value)
	go reflect.ValueOf(pointer.do).Call([]reflect.Value{reflect.ValueOf(1)})
	made := reflect.MakeFunc(reflect.TypeOf(call), func([]reflect.Value) []reflect.Value { <-never; return nil })
	go made.Interface().(func(doer) int)(pointer)
	go sort.Slice([]int{3, 2, 1}, func(i, j int) bool { <-never; return i < j })
	go strings.Map(func(r rune) rune { <-never; return r }, "abc")
	go func() {
		defer func() { <-never }()
		runtime.Goexit()
	}()
}

// panics

type node struct{ next *node }

//go:noinline
func follow(n *node) *node { return n.next.next }

//go:noinline
func divide(a, b int) int { return a / b }

//go:noinline
func index(values []int, i int) int { return values[i] }

//go:noinline
func convert(value interface{}) string { return value.(string) }

func startPanics() {
	block := func() { <-never }
	start(2, func() { defer block(); follow(&node{}) })
	go func() { defer func() { <-never }(); divide(1, len(holdMap)) }()
	go func() { defer block(); index(nil, 7) }()
	go func() { defer block(); convert(7) }()
	go func() { defer block(); panic("on purpose") }()
	go func() { defer func() { recover(); <-never }(); follow(nil) }()
	go func() { // a panic while another one is in progress
		defer block()
		defer func() { panic("second") }()
		panic("first")
	}()
	go func() { // recovered, and gone on
		func() {
			defer func() { recover() }()
			follow(&node{})
		}()
		<-never
	}()
	go func() { // through a function that has its defers open-coded
		defer block()
		func(b bool) {
			if b {
				defer fmt.Sprint("x")
			}
			follow(&node{})
		}(true)
	}()
	var nothing *byValue
	var d doer = nothing
	go func() { defer block(); d.do(1) }() // a wrapper panics: it is shown
	go func() { defer block(); var none doer; none.do(1) }()
}

// what runs

var counter [8]uint64

//go:noinline
func spin(i int) {
	for {
		counter[i]++
	}
}

//go:noinline
func spinCalls(i int) {
	for {
		step(i)
	}
}

//go:noinline
func step(i int) { counter[i]++ }

func clock() {
	for {
		if time.Now().IsZero() {
			return
		}
	}
}

// More than there are processors: some of them have been interrupted and wait for their turn.
func startSpinners() {
	for i := 0; i < 3; i++ {
		go spin(i)
	}
	go spinCalls(3)
	go clock()
	go rawPause()
}

// the finalizer's own goroutine, held by one

type finalized struct{ bytes [64]byte }

func runFinalizer() {
	started := make(chan bool)
	func() { runtime.SetFinalizer(&finalized{}, func(f *finalized) { started <- true; <-never }) }()
	for {
		runtime.GC()
		select {
		case <-started:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}
