package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestReplyOf(t *testing.T) {
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	for _, tt := range []struct {
		name   string
		err    error
		want   Reply
		socks4 byte
		http   int
	}{
		{"none", nil, Succeeded, 90, 200},
		{"unknown", errors.New("x"), GeneralFailure, 91, 500},
		{"no descriptors", dial(syscall.EMFILE), GeneralFailure, 91, 500},
		{"cancelled", context.Canceled, GeneralFailure, 91, 500},
		{"rules", fmt.Errorf("rule %q: %w", "lan", ErrNotAllowed), NotAllowed, 91, 403},
		{"itself", errLoop, NotAllowed, 91, 403},
		{"firewall", dial(syscall.EPERM), NotAllowed, 91, 403},
		{"prohibit route", dial(syscall.EACCES), NotAllowed, 91, 403},
		{"network unreachable", dial(syscall.ENETUNREACH), NetworkUnreachable, 91, 502},
		{"network down", dial(syscall.ENETDOWN), NetworkUnreachable, 91, 502},
		{"host unreachable", dial(syscall.EHOSTUNREACH), HostUnreachable, 91, 502},
		{"no such name", &net.DNSError{IsNotFound: true}, HostUnreachable, 91, 502},
		{"resolver silent", &net.DNSError{IsTimeout: true}, TTLExpired, 91, 504},
		{"refused", dial(syscall.ECONNREFUSED), ConnectionRefused, 91, 502},
		{"kernel's time-out", dial(syscall.ETIMEDOUT), TTLExpired, 91, 504},
		{"our time-out", context.DeadlineExceeded, TTLExpired, 91, 504},
		{"deadline", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, TTLExpired, 91, 504},
		{"command", &Error{Reply: CommandNotSupported}, CommandNotSupported, 91, 501},
		{"family", dial(syscall.EAFNOSUPPORT), AddressTypeNotSupported, 91, 400},
		{"no address of the family", &net.AddrError{Err: "no suitable address"}, AddressTypeNotSupported, 91, 400},
		{"said so", fmt.Errorf("dial: %w", &Error{Reply: HostUnreachable, Err: syscall.ECONNREFUSED}), HostUnreachable, 91, 502},
		{"refused says more than a time-out", errors.Join(context.DeadlineExceeded, dial(syscall.ECONNREFUSED)), ConnectionRefused, 91, 502},
		{"forbidden says more than refused", errors.Join(dial(syscall.ECONNREFUSED), ErrNotAllowed), NotAllowed, 91, 403},
	} {
		got := ReplyOf(tt.err)
		if got != tt.want || got.socks4() != tt.socks4 || got.HTTPStatus() != tt.http {
			t.Errorf("%s: %v, SOCKS 4 %d, HTTP %d; want %v, %d, %d", tt.name, got, got.socks4(), got.HTTPStatus(), tt.want, tt.socks4, tt.http)
		}
	}
}
