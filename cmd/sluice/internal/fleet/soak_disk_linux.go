package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/sdk"
	"github.com/sluicehq/sluice/sdk/wire"
)

// ballast is the file that fills a part of the disk, and is removed to make
// room again.
const ballast = "ballast"

// ServeDisk is the body of the process that has a disk of its own: a tmpfs of so
// many MiB at dir, in a mount namespace, a third of it filled. It starts a
// broker on it for the line "start" of in, makes room at "free", and answers each
// with a line: the broker's process ID, or 0.
func ServeDisk(dir, size string, args []string, in io.Reader, out io.Writer) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if err := syscall.Mount("sluice", dir, "tmpfs", 0, "size="+size+"m"); err != nil {
		return fmt.Errorf("disk: mount a tmpfs: %w", err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ballast), make([]byte, int64(st.Blocks)*st.Bsize/3), 0o600); err != nil {
		return err
	}
	var cmd *exec.Cmd
	defer func() {
		if cmd != nil {
			_ = cmd.Process.Kill() // fails only if it has ended
			_ = cmd.Wait()         // how it ended does not matter
		}
	}()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		pid := 0
		switch lines.Text() {
		case "start":
			cmd = exec.Command(args[0], args[1:]...)
			cmd.Stderr, cmd.SysProcAttr = os.Stderr, childAttr()
			if err := cmd.Start(); err != nil {
				return err
			}
			pid = cmd.Process.Pid
		case "free":
			if err := os.Remove(filepath.Join(dir, ballast)); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(out, pid); err != nil {
			return err
		}
	}
	return nil
}

// soakDisk fills a real disk, of which something else has a third: submissions
// are refused, and what was accepted runs when there is room again, in the same
// process.
func soakDisk(ctx context.Context, o *SoakOptions) (*soakResult, error) {
	s, err := prepareSoaked(4, ", max_store: 1073741824")
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close() }()
	if err := os.Mkdir(s.data, 0o700); err != nil {
		return nil, err
	}
	sluice := o.Sluice[:len(o.Sluice):len(o.Sluice)]
	args := append(append(sluice, "disk", s.data, fmt.Sprint(o.Disk), "--"), append(sluice, "up", "--config", s.config())...)
	d := s.add("disk", "disk", args)
	d.wantOut, d.attr = true, childAttr()
	d.attr.Cloneflags = syscall.CLONE_NEWNS
	if os.Geteuid() != 0 {
		d.attr.Cloneflags |= syscall.CLONE_NEWUSER
		d.attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		d.attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := d.start(); err != nil {
		return nil, fmt.Errorf("a disk of its own needs a mount namespace: %w", err)
	}
	answers := bufio.NewScanner(d.stdout)
	say := func(what string) (pid int, err error) {
		if _, err := fmt.Fprintln(d.stdin, what); err != nil {
			return 0, err
		}
		if !answers.Scan() {
			return 0, errors.New("the process with the disk has ended: " + d.tail(500))
		}
		_, err = fmt.Sscan(answers.Text(), &pid)
		return pid, err
	}
	pid, err := say("start")
	if err == nil {
		err = s.ready(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, d.tail(2000))
	}
	ids, refusal, err := s.fill(ctx)
	if err != nil {
		return nil, err
	}
	err = until(ctx, 30*time.Second, "/readyz to say so", func() error {
		if err := (&Fleet{http: s.http}).get(ctx, "readyz", &struct{}{}); err == nil || !strings.Contains(err.Error(), "make room") {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err = say("free"); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("with room again: %w\n%s", err, d.tail(2000))
	}
	back := time.Since(began)
	close(s.provider.gate)
	if err := s.finish(ctx, ids); err != nil {
		return nil, err
	}
	return &soakResult{fmt.Sprintf("a disk of %d MiB fills up: %d jobs of 256 KiB accepted, then refused (%s); ready by itself %s after there is room again, and all of them run",
		o.Disk, len(ids), refusal, back.Round(100*time.Millisecond)), peak(pid), soakBound}, nil
}

// fill submits jobs until they are refused for good.
func (s *soaked) fill(ctx context.Context) (ids []string, refusal string, err error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	body := []byte(soakBody("gate", 256<<10))
	for began := time.Now(); time.Since(began) < 2*time.Minute; {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		h, err := c.Submit(try, sdk.Job{ID: fmt.Sprint("full-", len(ids)), Class: wire.Batch, Body: body})
		cancel()
		if err != nil {
			return ids, strings.ReplaceAll(err.Error(), "\n", " "), nil
		}
		ids = append(ids, h.ID())
	}
	return nil, "", errors.New("the disk did not fill up")
}

// finish waits for jobs to succeed.
func (s *soaked) finish(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, id := range ids {
		res, err := c.Attach(id).Wait(ctx)
		if err != nil {
			return fmt.Errorf("accepted job %s: %w", id, err)
		}
		if res.Record.Status != wire.Succeeded {
			return fmt.Errorf("accepted job %s: %s", id, res.Record.Status)
		}
	}
	return nil
}
