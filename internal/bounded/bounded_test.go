package bounded

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadAll(t *testing.T) {
	for _, most := range []int64{0, 1, 5, 600} {
		for _, tt := range []struct {
			length int64
			want   error
		}{{0, nil}, {most - 1, nil}, {most, nil}, {most + 1, ErrTooLong}, {most + 1000, ErrTooLong}} {
			if tt.length < 0 {
				continue
			}
			text := strings.Repeat("x", int(tt.length))
			for _, in := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
				b, err := ReadAll(in, most)
				if !errors.Is(err, tt.want) || int64(len(b)) != min(most, tt.length) {
					t.Errorf("%d of %d bytes: %d, %v", most, tt.length, len(b), err)
				}
			}
		}
	}
}

// An error of the source is returned as it is.
func TestErrorOfTheSource(t *testing.T) {
	if _, err := ReadAll(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("xxx"))), 2); !errors.Is(err, iotest.ErrTimeout) {
		t.Error(err)
	}
}
