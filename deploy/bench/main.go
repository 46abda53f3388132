package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 {
		if serve, ok := peers[os.Args[1]]; ok {
			os.Exit(report(serve(os.Args[2])))
		}
	}
	os.Exit(report(run(ctx, os.Args[1:], os.Stdout, os.Stderr)))
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// section measures some lines of the table. It starts what it needs and ends
// it again.
type section struct {
	name string
	run  func(context.Context, *bench) ([]line, error)
}

var sections = []section{
	{"refs", refs},
	{"clone", clone},
	{"fetch", fetch},
	{"sync", syncs},
	{"push", push},
	{"packages", packages},
	{"memory", memory},
	{"versions", versions},
	{"storage", storage},
	{"applications", applications},
	{"scale", scale}, // after applications: it goes on with their server
	{"ondemand", ondemand},
}

// bench is what every section gets.
type bench struct {
	sizes   sizes
	program string // the server's
	self    string // this program's, for the peers
	folder  string // removed at the end

	accounts string // where processor time is counted, "" where it can't be
	began    time.Time
	stderr   io.Writer
}

// progress tells a person who waits where the run is.
func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.stderr, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// run parses the command line and prints the table.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	program := flags.String("server", "", "the deployment-manager `program` to measure")
	only := flags.String("only", "", "comma-separated `sections` to run: "+strings.Join(sectionNames(), ", ")+"; empty means all")
	limit := flags.Duration("limit", 15*time.Minute, "longest `time` of the whole run")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	return measure(ctx, *program, full, chosen, stdout, stderr)
}

func sectionNames() []string {
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

func choose(only string) ([]section, error) {
	if only == "" {
		return sections, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(only, ",") {
		i := slices.Index(sectionNames(), name)
		if i < 0 {
			return nil, fmt.Errorf("there is no section %q", name)
		}
		chosen = append(chosen, sections[i])
	}
	return chosen, nil
}

// measure runs the chosen sections one after the other. A section that fails
// does not keep the others from being measured.
func measure(ctx context.Context, program string, s sizes, chosen []section, stdout, stderr io.Writer) (err error) {
	b := &bench{sizes: s, accounts: accountsFolder(), began: time.Now(), stderr: stderr}
	if b.program, err = filepath.Abs(program); err != nil {
		return err
	}
	if _, err := os.Stat(b.program); err != nil || program == "" {
		return fmt.Errorf("there is no server program %q; give it with -server", program)
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.folder, err = os.MkdirTemp("", "deployment-manager-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.folder)
	facts := machine(b.folder)

	var lines []line
	var failed []string
	for _, section := range chosen {
		b.progress("%s", section.name)
		got, err := section.run(ctx, b)
		for _, l := range got {
			b.progress("  %s", l)
		}
		lines = append(lines, got...)
		if err != nil {
			b.progress("%s failed: %v", section.name, err)
			failed = append(failed, section.name)
		}
	}
	fmt.Fprintf(stdout, "%s\nwall time %.0f s, load average %s at the end\n\n", facts, time.Since(b.began).Seconds(), load())
	printTable(stdout, lines)
	if len(failed) > 0 {
		return fmt.Errorf("not measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

// sub makes a folder for one section.
func (b *bench) sub(name string) (string, error) {
	folder := filepath.Join(b.folder, name)
	return folder, os.MkdirAll(folder, 0o755)
}
