package container

import (
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"strings"

	"github.com/containerd/errdefs"
)

// reserve claims a name for an id; an empty one is made up. The result has a
// leading slash.
func (m *Manager) reserve(name, id string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == "" {
		return m.invent(id), nil
	}
	name = "/" + strings.TrimPrefix(name, "/")
	if !validName(name[1:]) {
		return "", refuse(errdefs.ErrInvalidArgument, "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name[1:])
	}
	if owner, taken := m.names[name]; taken && owner != id {
		return "", refuse(errdefs.ErrConflict,
			"Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", name, owner)
	}
	m.names[name] = id
	return name, nil
}

// invent is called with mu held.
func (m *Manager) invent(id string) string {
	for try := 0; ; try++ {
		name := "/" + pick(adjectives()) + "_" + pick(scientists())
		if try >= 8 { // many names are taken
			name += "_" + newID()[:6]
		}
		if _, taken := m.names[name]; !taken {
			m.names[name] = id
			return name
		}
	}
}

func (m *Manager) unreserve(name, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] == id {
		delete(m.names, name)
	}
}

// validName matches [a-zA-Z0-9][a-zA-Z0-9_.-]+.
func validName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && strings.IndexByte("_.-", c) >= 0:
		default:
			return false
		}
	}
	return len(name) >= 2
}

// newID makes a container or exec id. One of digits only is no good: its
// short form would be taken for a number by some tools.
func newID() string {
	for {
		b := make([]byte, 32)
		rand.Read(b) // never fails (crypto/rand, Go 1.24)
		id := hex.EncodeToString(b)
		if strings.Trim(id[:12], "0123456789") != "" {
			return id
		}
	}
}

func pick(words []string) string {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(words))))
	if err != nil { // never: crypto/rand does not fail
		return words[0]
	}
	return words[n.Int64()]
}

func adjectives() []string {
	return strings.Fields(`amber ample ardent bold breezy bright brisk calm candid careful cheerful clear clever
		cosmic crisp curious daring deft dapper eager earnest easy elated fair fearless fine fluent fond frank free
		fresh gentle glad gleaming golden graceful grand happy hardy hearty honest humble ideal jolly jovial keen kind
		lively lucid lucky mellow merry mighty mindful modest neat nimble noble novel open patient placid plucky polite
		prime proud quick quiet radiant rapid ready robust rosy serene sharp silent sleek smart snug solid sparkling
		spry stable steady still sturdy sunny swift tender thrifty tidy tranquil true upbeat valiant vivid warm wise
		witty zealous zesty`)
}

func scientists() []string {
	return strings.Fields(`abel agnesi alhazen ampere anning archimedes arrhenius avogadro babbage banach bell berzelius
		bohr boltzmann boole bose brahe cantor carson carver cauchy cavendish celsius chandrasekhar chatelet church
		clarke compton copernicus coulomb curie cuvier dalton darwin descartes dijkstra dirac edison einstein eratosthenes
		erdos euclid euler faraday fermat fermi feynman fibonacci fleming fourier franklin galileo galois gauss germain
		gibbs goldberg goodall hamilton harvey heisenberg herschel hertz hilbert hodgkin hooke hopper hubble humboldt
		huygens hypatia jemison johnson joule kepler khayyam knuth kovalevskaya lagrange lamarr laplace lavoisier leavitt
		leibniz linnaeus lorentz lovelace mach maxwell mayer mcclintock meitner mendel mendeleev mirzakhani mitchell
		napier newton nightingale noether ohm pascal pasteur pauli payne planck poincare ptolemy ramanujan rayleigh
		riemann ritchie roentgen rubin rutherford sagan salk schrodinger shannon somerville stokes swartz tesla thales
		thompson torvalds turing volta wiles wright wu yalow yonath`)
}
