package system

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/docker/cli/cli/config/types"
	"github.com/moby/moby/client"
	"github.com/moby/term"
	"github.com/spf13/cobra"

	"github.com/strakehq/strake/cmd/strake/app"
	"github.com/strakehq/strake/cmd/strake/terminal"
)

type loginOptions struct {
	user, password string
	stdin          bool
}

// NewLogin is the command login.
func NewLogin(a *app.App) *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login [OPTIONS] [SERVER]",
		Short: "Authenticate to a registry",
		Long:  "Authenticate to a registry, Docker Hub when none is named. The credentials go to config.json or to the credential helper that it names.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, a, args)
		},
	}
	cmd.Flags().StringVarP(&o.user, "username", "u", "", "Username")
	cmd.Flags().StringVarP(&o.password, "password", "p", "", "Password or Personal Access Token (PAT); visible to others, prefer --password-stdin")
	cmd.Flags().BoolVar(&o.stdin, "password-stdin", false, "Take the Password or Personal Access Token (PAT) from stdin")
	return cmd
}

func (o *loginOptions) run(cmd *cobra.Command, a *app.App, args []string) error {
	server := "docker.io"
	if len(args) == 1 {
		server = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(args[0], "https://"), "http://"), "/")
	}
	if err := o.ask(a); err != nil {
		return err
	}
	key := app.AuthKey(server)
	c, err := a.Client()
	if err != nil {
		return err
	}
	res, err := c.RegistryLogin(cmd.Context(), client.RegistryLoginOptions{Username: o.user, Password: o.password, ServerAddress: key})
	if err != nil {
		return err
	}
	auth := types.AuthConfig{Username: o.user, Password: o.password, ServerAddress: key}
	if res.Auth.IdentityToken != "" {
		auth.Password, auth.IdentityToken = "", res.Auth.IdentityToken
	}
	f, err := a.ConfigFile()
	if err != nil {
		return err
	}
	if err := f.GetCredentialsStore(key).Store(auth); err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	_, err = fmt.Fprintln(a.Out, res.Auth.Status)
	return err
}

// ask completes name and password from standard input.
func (o *loginOptions) ask(a *app.App) error {
	if o.stdin {
		if o.user == "" {
			return errors.New("must provide --username with --password-stdin")
		}
		if o.password != "" {
			return errors.New("--password and --password-stdin are mutually exclusive")
		}
		b, err := io.ReadAll(io.LimitReader(a.In, 64<<10))
		if err != nil {
			return err
		}
		o.password = strings.TrimRight(string(b), "\r\n")
	}
	if (o.user == "" || o.password == "") && !terminal.IsTerminal(a.In) {
		return errors.New("cannot perform an interactive login from a non TTY device: give --username and --password-stdin")
	}
	in := bufio.NewReader(a.In)
	if o.user == "" {
		if err := prompt(a.Out, in, "Username: ", &o.user); err != nil {
			return err
		}
	}
	if o.password != "" {
		return nil
	}
	restore, err := hideInput(a.In)
	if err != nil {
		return err
	}
	err = prompt(a.Out, in, "Password: ", &o.password)
	_, newline := fmt.Fprintln(a.Out)
	return errors.Join(err, newline, restore())
}

func prompt(w io.Writer, in *bufio.Reader, text string, into *string) error {
	if _, err := fmt.Fprint(w, text); err != nil {
		return err
	}
	line, err := in.ReadString('\n')
	*into = strings.TrimRight(line, "\r\n")
	return err
}

func hideInput(in io.Reader) (restore func() error, err error) {
	f, ok := in.(*os.File)
	if !ok {
		return func() error { return nil }, nil
	}
	state, err := term.SaveState(f.Fd())
	if err != nil {
		return nil, err
	}
	return func() error { return term.RestoreTerminal(f.Fd(), state) }, term.DisableEcho(f.Fd(), state)
}

// NewLogout is the command logout.
func NewLogout(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "logout [SERVER]",
		Short: "Log out from a registry",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			server := "docker.io"
			if len(args) == 1 {
				server = args[0]
			}
			f, err := a.ConfigFile()
			if err != nil {
				return err
			}
			key := app.AuthKey(server)
			if err := f.GetCredentialsStore(key).Erase(key); err != nil {
				return fmt.Errorf("erase credentials: %w", err)
			}
			_, err = fmt.Fprintln(a.Out, "Removing login credentials for", key)
			return err
		},
	}
}
