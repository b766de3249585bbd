package stage

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/socket-intents/mamma/internal/testing/testbed"
)

// actorEnv marks a process that StartActor started.
const actorEnv = "MAMMA_STAGE_ACTOR"

// maxLine bounds a job or its result.
const maxLine = 16 << 20

// Actor is this program once more, inside a namespace, where it does jobs: all
// goroutines of it are there, which the client library needs.
type Actor struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner

	mu sync.Mutex // one job at a time
}

// StartActor starts one. It ends with Close, with the test bed, or with this process.
func StartActor(in *testbed.Namespace) (*Actor, error) {
	a := &Actor{cmd: exec.Command("/proc/self/exe")}
	a.cmd.Env = append(os.Environ(), actorEnv+"=1")
	a.cmd.Stderr = os.Stderr
	var err error
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewScanner(out)
	a.out.Buffer(nil, maxLine)
	if err := in.Start(a.cmd); err != nil {
		return nil, fmt.Errorf("starting an actor: %w", err)
	}
	return a, nil
}

// job and answer are what travels, a line each.
type job struct {
	Kind string          `json:"kind"`
	Args json.RawMessage `json:"args"`
}

type answer struct {
	Error  string          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// Do lets the actor do a job of a kind that Act knows, and stores what comes of
// it in result. Jobs are done one after the other.
func (a *Actor) Do(kind string, args, result any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("job %s: %w", kind, err)
	}
	line, err := json.Marshal(job{kind, raw})
	if err != nil {
		return fmt.Errorf("job %s: %w", kind, err)
	}
	if _, err := a.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("job %s: %w", kind, err)
	}
	if !a.out.Scan() {
		return fmt.Errorf("job %s: the actor ended: %w", kind, errors.Join(a.out.Err(), io.ErrUnexpectedEOF))
	}
	var ans answer
	if err := json.Unmarshal(a.out.Bytes(), &ans); err != nil {
		return fmt.Errorf("job %s: %w", kind, err)
	}
	if ans.Error != "" {
		return fmt.Errorf("job %s: %s", kind, ans.Error)
	}
	if err := json.Unmarshal(ans.Result, result); err != nil {
		return fmt.Errorf("result of job %s: %w", kind, err)
	}
	return nil
}

// Close ends the actor.
func (a *Actor) Close() error {
	_ = a.in.Close() // it may have ended
	return a.cmd.Wait()
}

// Job does a job: args are the JSON of what was handed to Do.
type Job func(args json.RawMessage) (any, error)

// Typed makes a Job of a function with arguments of its own type.
func Typed[A, R any](f func(A) (R, error)) Job {
	return func(raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, err
		}
		return f(args)
	}
}

// Act does the jobs of an actor until it is closed, and tells whether this
// process is one; if not, it returns at once. It must be called first in main.
func Act(jobs map[string]Job) (bool, error) {
	if os.Getenv(actorEnv) == "" {
		return false, nil
	}
	return true, act(os.Stdin, os.Stdout, jobs)
}

func act(in io.Reader, out io.Writer, jobs map[string]Job) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	w := json.NewEncoder(out)
	for s.Scan() {
		var j job
		if err := json.Unmarshal(s.Bytes(), &j); err != nil {
			return fmt.Errorf("reading a job: %w", err)
		}
		if err := w.Encode(perform(j, jobs)); err != nil {
			return fmt.Errorf("answering job %s: %w", j.Kind, err)
		}
	}
	return s.Err()
}

func perform(j job, jobs map[string]Job) answer {
	do, ok := jobs[j.Kind]
	if !ok {
		return answer{Error: fmt.Sprintf("unknown job %q", j.Kind)}
	}
	result, err := do(j.Args)
	if err != nil {
		return answer{Error: err.Error()}
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Result: raw}
}
