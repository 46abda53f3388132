//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// faultDrive is one sort of change that meets a failing disk.
type faultDrive struct {
	name    string
	prepare func(f *faulty) error // while the disk is well
	act     func(f *faulty) error
}

// faulty is one run of a drive, on names of its own.
type faulty struct {
	*crashPusher
	name string
}

func (f *faulty) id(version string) string { return "p" + f.name + "-" + version }
func (f *faulty) appName() string          { return "a" + f.name }

func (f *faulty) deployed() error {
	return errors.Join(f.crashWorld.publish("ana", f.id("1.0.0"), "first "+f.name), f.deploy("ana", f.id("1.0.0")))
}

func (f *faulty) first() error { return f.crashWorld.publish("ana", f.id("1.0.0"), "first "+f.name) }

func (f *faulty) made() error {
	return errors.Join(f.deployed(), f.crashWorld.create("ana", f.appName(), f.id("1.0.0"), "one"))
}

// faultDrives are a change of each sort through each door, in repositories that
// exist and in new ones.
var faultDrives = []faultDrive{
	{"upload of a package", func(*faulty) error { return nil },
		func(f *faulty) error { return f.crashWorld.publish("ana", f.id("1.0.0"), "first") }},
	{"upload of a second version", (*faulty).first,
		func(f *faulty) error { return f.crashWorld.publish("ana", f.id("1.1.0"), "second") }},
	{"create", (*faulty).deployed,
		func(f *faulty) error { return f.crashWorld.create("ana", f.appName(), f.id("1.0.0"), "one") }},
	{"change", (*faulty).made,
		func(f *faulty) error { return f.crashWorld.change("ana", f.appName(), f.id("1.0.0"), "two", "ana ben") }},
	{"push of a package", func(*faulty) error { return nil },
		func(f *faulty) error { return f.publish("ana", f.id("1.0.0"), "first"+byPush) }},
	{"push of a second version", (*faulty).first,
		func(f *faulty) error { return f.publish("ana", f.id("1.1.0"), "second"+byPush) }},
	{"push of a new application", (*faulty).deployed,
		func(f *faulty) error { return f.create("ana", f.appName(), f.id("1.0.0"), "one") }},
	{"push of a change", (*faulty).made,
		func(f *faulty) error { return f.change("ana", f.appName(), f.id("1.0.0"), "two", "ana ben") }},
}

// ready prepares a run.
func (d faultDrive) ready(p *crashPusher, number int) *faulty {
	p.t.Helper()
	f := &faulty{p, fmt.Sprint(number)}
	if err := d.prepare(f); err != nil {
		p.t.Fatalf("prepare %s: %v", d.name, err)
	}
	return f
}

// patience bounds how long a change meets a failing disk: strace misses the end
// of a hook program at times, whose git would then wait for it.
const patience = 4 * time.Second

// whileWorking calls heal as soon as the server works on the application of f,
// which is after it has accepted a change, or when act takes too long. It
// returns what act returns.
func (f *faulty) whileWorking(heal func(), act func() error) error {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for late := time.After(patience); ; {
			select {
			case <-done:
				return
			case <-late:
				heal()
				return
			case <-time.After(3 * time.Millisecond):
			}
			if _, working, err := f.look(f.appName()); err == nil && working {
				heal()
				return
			}
		}
	}()
	err := act()
	close(done)
	<-ended
	return err
}

// clearRefusal tells whether a change was refused with an error of the server
// and a sentence.
func clearRefusal(err error) bool {
	text := err.Error()
	return strings.Contains(text, "got 503: {") || strings.Contains(text, "got 400: ") && strings.Contains(text, "remote")
}
