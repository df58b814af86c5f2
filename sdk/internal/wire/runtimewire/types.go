package runtimewire

import (
	pb "github.com/strakehq/strake/sdk/internal/pb/runtimepb"
	"github.com/strakehq/strake/sdk/internal/wire/driverwire"
	"github.com/strakehq/strake/sdk/runtime"
)

func toIO(i runtime.IO) *pb.IO {
	return &pb.IO{
		Terminal: i.Terminal, Stdin: i.Stdin, StdinOnce: i.StdinOnce, Width: uint32(i.Width), Height: uint32(i.Height),
		Log: &pb.Log{Path: i.Log.Path, MaxSize: i.Log.MaxSize, MaxFiles: int64(i.Log.MaxFiles), Attrs: i.Log.Attrs},
	}
}

func fromIO(i *pb.IO) runtime.IO {
	l := i.GetLog()
	return runtime.IO{
		Terminal: i.GetTerminal(), Stdin: i.GetStdin(), StdinOnce: i.GetStdinOnce(),
		Width: uint16(i.GetWidth()), Height: uint16(i.GetHeight()),
		Log: runtime.Log{Path: l.GetPath(), MaxSize: l.GetMaxSize(), MaxFiles: int(l.GetMaxFiles()), Attrs: l.GetAttrs()},
	}
}

func toStreams(s runtime.StreamSet) *pb.StreamSet {
	return &pb.StreamSet{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr}
}

func fromStreams(s *pb.StreamSet) runtime.StreamSet {
	return runtime.StreamSet{Stdin: s.GetStdin(), Stdout: s.GetStdout(), Stderr: s.GetStderr()}
}

func toExit(e *runtime.Exit) *pb.Exit {
	if e == nil {
		return nil
	}
	return &pb.Exit{Code: int32(e.Code), Known: e.Known, At: driverwire.ToTime(e.At), OomKilled: e.OOMKilled}
}

func fromExit(e *pb.Exit) *runtime.Exit {
	if e == nil {
		return nil
	}
	return &runtime.Exit{
		Code: int(e.GetCode()), Known: e.GetKnown(), At: driverwire.FromTime(e.GetAt()), OOMKilled: e.GetOomKilled(),
	}
}

func toState(s runtime.State) *pb.ProcessState {
	return &pb.ProcessState{
		Id: string(s.ID), Exec: string(s.Exec), Status: string(s.Status), Pid: int64(s.Pid),
		StartedAt: driverwire.ToTime(s.StartedAt), Exit: toExit(s.Exit),
	}
}

func fromState(s *pb.ProcessState) runtime.State {
	return runtime.State{
		ID: runtime.ContainerID(s.GetId()), Exec: runtime.ExecID(s.GetExec()), Status: runtime.Status(s.GetStatus()),
		Pid: int(s.GetPid()), StartedAt: driverwire.FromTime(s.GetStartedAt()), Exit: fromExit(s.GetExit()),
	}
}
