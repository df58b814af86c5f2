package container

import "fmt"

// fault is an error of a class whose message is Docker's to the letter: the
// class is found by errors.Is and does not show.
type fault struct {
	class error
	msg   string
}

func (f *fault) Error() string { return f.msg }

func (f *fault) Unwrap() error { return f.class }

// refuse makes an error of an errdefs class.
func refuse(class error, format string, args ...any) error {
	return &fault{class, fmt.Sprintf(format, args...)}
}

// classed gives err's message another class.
func classed(class, err error) error { return &fault{class, err.Error()} }
