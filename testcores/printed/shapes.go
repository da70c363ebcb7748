// SPDX-License-Identifier: Apache-2.0

package main

import (
	"reflect"
	"sort"
)

type small struct {
	a int8
	b uint16
	c int32
	d bool
}

type nested struct {
	a struct {
		b struct {
			c struct {
				d struct{ e struct{ f int } }
			}
		}
	}
	n int
}

type large struct{ values [40]int64 }

type empty struct{}

type doer interface{ Do(a int, s string) int }

type byValue struct {
	c chan int
	n [3]int
}

type byPointer struct{ c chan int }

func (v byValue) Do(a int, s string) int    { return <-v.c + a + len(s) }
func (v *byPointer) Do(a int, s string) int { return <-v.c + a + len(s) }

//go:noinline
func integers(a int8, b uint8, c int16, d uint16, e int32, f uint32, g int64, h uint64) int {
	return <-never + int(a) + int(b) + int(c) + int(d) + int(e) + int(f) + int(g) + int(h)
}

//go:noinline
func floats(a float32, b float64, c complex64, d complex128, n int) float64 {
	return float64(<-never) + float64(a) + b + float64(real(c)) + imag(d) + float64(n)
}

//go:noinline
func aggregates(s string, b []byte, e error, any interface{}, m map[string]int) int {
	return <-never + len(s) + len(b) + len(m)
}

//go:noinline
func structs(s small, n nested, e empty, a [1]int, z [0]int) int {
	return <-never + int(s.a) + n.n + a[0]
}

//go:noinline
func array(a [3]int, b [2]small) int { return <-never + a[1] + int(b[1].a) }

//go:noinline
func many(a, b, c, d, e, f, g, h, i, j, k, l int) int { return <-never + a + l }

//go:noinline
func exactlyTen(a, b, c, d, e, f, g, h, i, j int) int { return <-never + a + j }

//go:noinline
func tooFar(l large, n int, l2 large, s string) int { return <-never + int(l.values[3]) + n + len(s) }

//go:noinline
func variadic(n int, rest ...interface{}) int { return <-never + n + len(rest) }

//go:noinline
func dead(a, b, c int) int {
	sum := a * b
	for i := range make([]int, a) {
		sum += i
	}
	return <-never + sum
}

//go:noinline
func results(a int) (x int, y string, z error) { return <-never + a, "", nil }

//go:noinline
func blank(_ int, b int, _ string) int { return <-never + b }

//go:noinline
func none() { <-never }

//go:noinline
func generic[K comparable, V any](k K, v V, m map[K]V) V {
	<-never
	return m[k]
}

//go:noinline
func callback(f func(int) int, n int) int { return f(n) }

func inlined(a int, s string) int      { return inlinedTwice(a, s) }
func inlinedTwice(a int, s string) int { return wait(a + len(s)) }

//go:noinline
func wait(n int) int { return <-never + n }

//go:noinline
func panics(n int) {
	defer func() {
		recover()
		none()
	}()
	var p *small
	p.c = int32(n)
}

//go:noinline
func panicsByValue(n int) {
	defer deferred(n, "text")
	panic("why")
}

func deferred(n int, s string) { wait(n + len(s)) }

func startArguments() {
	go integers(-1, 0xfe, -2, 0xfffd, -3, 0xfffffffc, -4, 1<<63)
	go func() { integers(1, 2, 3, 4, 5, 6, 7, 8) }()
	go func() { floats(1.5, 2.5, 1+2i, 3+4i, 5) }()
	go func() { aggregates("text", []byte("bytes"), nil, 7, map[string]int{"a": 1}) }()
	go func() { structs(small{1, 2, 3, true}, nested{n: 4}, empty{}, [1]int{9}, [0]int{}) }()
	go func() { array([3]int{1, 2, 3}, [2]small{}) }()
	go func() { many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) }()
	go func() { exactlyTen(1, 2, 3, 4, 5, 6, 7, 8, 9, 10) }()
	go func() { tooFar(large{}, 5, large{}, "text") }()
	go func() { variadic(1, 2, "three", nil) }()
	go func() { dead(3, 4, 5) }()
	go func() { results(1) }()
	go func() { blank(1, 2, "three") }()
	go none()
	go func() { generic("key", 1.5, nil) }()
	go func() { generic(small{}, []int{1}, nil) }()
	go func() { callback(func(n int) int { return <-never + n }, 12) }()
	go func() { callback(byValue{never, [3]int{1, 2, 3}}.valueOf, 13) }()
	go func() { inlined(4, "five") }()
	var d doer = byValue{never, [3]int{1, 2, 3}}
	go d.Do(1, "a")
	go func() { d.Do(2, "bc") }()
	var p doer = &byPointer{never}
	go func() { p.Do(3, "def") }()
	f := p.Do
	go func() { f(4, "gh") }()
	go func() { reflect.ValueOf(wait).Call([]reflect.Value{reflect.ValueOf(5)}) }()
	go func() { reflect.ValueOf(p).Method(0).Call([]reflect.Value{reflect.ValueOf(5), reflect.ValueOf("hi")}) }()
	go func() { sort.Slice([]int{3, 2, 1}, func(i, j int) bool { return wait(i) < j }) }()
	go panics(6)
	go panicsByValue(7)
	go func() { defer panicsByValue(8); panics(9) }()
}

func (v byValue) valueOf(n int) int { return <-v.c + n + v.n[1] }

//go:noinline
func recurse(depth int, text string) int {
	if depth == 0 {
		return <-never
	}
	return recurse(depth-1, text) + len(text)
}

func recurseInlined(depth int) int { return recurseStep(depth) + 1 }

//go:noinline
func recurseStep(depth int) int {
	if depth == 0 {
		return <-never
	}
	return recurseInlined(depth-1) + 1
}

type recurser interface{ recurse(depth int) int }

type node struct{ n [4]int }

// By value through an interface: a wrapper at each level.
func (v node) recurse(depth int) int {
	if depth == 0 {
		return <-never
	}
	var next recurser = &v
	return next.recurse(depth-1) + v.n[0]
}

func startDepths() {
	for _, depth := range []int{1, 44, 48, 49, 50, 51, 93, 94, 95, 96, 97, 98, 99, 100, 101, 149, 150, 300, 2000} {
		go recurse(depth, "text")
		go recurseInlined(depth)
		go func(depth int) { node{}.recurse(depth) }(depth)
	}
}
