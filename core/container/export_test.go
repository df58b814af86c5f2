package container

import "github.com/moby/moby/api/types/container"

// Next is the table of transitions, for the model that histories are held against.
func Next(s container.ContainerState, verb string) (container.ContainerState, error) {
	return (&Manager{table: transitions()}).next("ID", s, operation(verb))
}
