package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/auth"
)

func tokenCommand(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke API tokens",
		Long: `API tokens let programs call the server: as "Authorization: Bearer TOKEN", or
with git and curl as the password of their user. The server reads them from the
file that its option tokens names, and notices a change within a second.

The file holds hashes, never a token. It must not be writable by others.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	cmd.AddCommand(tokenCreateCommand(p), tokenListCommand(p), tokenRevokeCommand(p))
	return cmd
}

// tokenFile declares --file, which the variable of the option tokens may give.
func tokenFile(p process, flags *pflag.FlagSet) (file func() (string, error)) {
	named := flags.String("file", "", "token `FILE`; the default is DM_TOKENS")
	return func() (string, error) {
		if *named != "" {
			return *named, nil
		}
		if path := lookup(p.environ)["DM_TOKENS"]; path != "" {
			return path, nil
		}
		return "", dm.Errorf(dm.Invalid, "token", "no token file given").WithHint("give one with --file or DM_TOKENS")
	}
}

func tokenCreateCommand(p process) *cobra.Command {
	var (
		user, expires, note string
		scopes              []string
	)
	cmd := &cobra.Command{
		Use:   "create --file FILE --user USER",
		Short: "Create a token and print it once",
		Long: `Makes a token and prints it on standard output, and what it is good for on
standard error. Nobody can show it again. The file is made when it is missing.

A token may do what its user may do; --scope narrows that to
  read          look at everything that the user may look at
  packages      also upload, delete, deploy and undeploy packages
  applications  also create, change, start, stop, roll back and destroy applications`,
		Example: `  deployment-manager token create --file tokens --user ci --scope packages --expires 30d --note "nightly build"`,
		Args:    cobra.NoArgs,
	}
	file := tokenFile(p, cmd.Flags())
	cmd.Flags().StringVar(&user, "user", "", "`USER` whom the token stands for")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "`SCOPE` that the token is limited to: read, packages or applications; may be repeated")
	cmd.Flags().StringVar(&expires, "expires", "90d", "`WHEN` the token ends: days such as 90d, hours such as 12h, the beginning of a day such as 2030-12-31, or never")
	cmd.Flags().StringVar(&note, "note", "", "one line `TEXT` that tells what the token is for")
	cmd.RunE = func(*cobra.Command, []string) error {
		path, err := file()
		if err != nil {
			return err
		}
		if user == "" {
			return dm.Errorf(dm.Invalid, "token create", "--user is required")
		}
		now := time.Now()
		wanted := auth.Token{User: dm.UserName(user), Note: note}
		for _, scope := range scopes {
			wanted.Scopes = append(wanted.Scopes, dm.Scope(scope))
		}
		if wanted.Expires, err = endOf(expires, now); err != nil {
			return err
		}
		token, made, err := auth.CreateToken(path, wanted, now)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "token %s of %s: %s, %s; it is not shown again\n", made.ID, made.User, scopeText(made), expiryText(made))
		_, err = fmt.Fprintln(p.stdout, token)
		return err
	}
	return cmd
}

// longest is the longest time that --expires takes, short of never.
const longest = 100 * 366 * 24 * time.Hour

// endOf reads --expires; the zero time is never.
func endOf(text string, now time.Time) (time.Time, error) {
	days, isDays := strings.CutSuffix(text, "d")
	hours, isHours := strings.CutSuffix(text, "h")
	unit := time.Hour
	if isDays {
		hours, unit = days, 24*time.Hour
	}
	switch n, err := strconv.Atoi(hours); {
	case text == "never":
		return time.Time{}, nil
	case (isDays || isHours) && err == nil && n > 0 && n <= int(longest/unit):
		return now.Add(time.Duration(n) * unit), nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day, nil
	}
	return time.Time{}, dm.Errorf(dm.Invalid, "token create", "--expires: %q is not a time such as 90d, 12h, 2030-12-31 or never", text)
}

func scopeText(t auth.Token) string {
	if len(t.Scopes) == 0 {
		return "everything"
	}
	texts := make([]string, len(t.Scopes))
	for i, scope := range t.Scopes {
		texts[i] = string(scope)
	}
	return strings.Join(texts, ",")
}

func expiryText(t auth.Token) string {
	if t.Expires.IsZero() {
		return "does not expire"
	}
	return "expires " + timeText(t.Expires)
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}

func tokenListCommand(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list --file FILE",
		Short: "List all tokens, the oldest first",
		Args:  cobra.NoArgs,
	}
	file := tokenFile(p, cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		path, err := file()
		if err != nil {
			return err
		}
		list, err := auth.ReadTokens(path)
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ID\tUSER\tSTATE\tSCOPES\tCREATED\tEXPIRES\tNOTE")
		for _, t := range list {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.User, t.State(time.Now()), scopeText(t), timeText(t.Created), timeText(t.Expires), t.Note)
		}
		return table.Flush()
	}
	return cmd
}

func tokenRevokeCommand(p process) *cobra.Command {
	var id, user string
	cmd := &cobra.Command{
		Use:   "revoke --file FILE (--id ID | --user USER)",
		Short: "Revoke a token, or all tokens of a user",
		Long: `Ends one token, or all tokens of a user. The server notices it within a second.
A revoked token stays in the list, so that the record, which names tokens by
their id, can still be read.`,
		Args: cobra.NoArgs,
	}
	file := tokenFile(p, cmd.Flags())
	cmd.Flags().StringVar(&id, "id", "", "`ID` of the token: the part between dmt_ and the next _")
	cmd.Flags().StringVar(&user, "user", "", "`USER` all of whose tokens end")
	cmd.RunE = func(*cobra.Command, []string) error {
		path, err := file()
		if err != nil {
			return err
		}
		if (id == "") == (user == "") {
			return dm.Errorf(dm.Invalid, "token revoke", "one of --id and --user is required")
		}
		revoked, err := auth.RevokeTokens(path, func(t auth.Token) bool {
			return id != "" && t.ID == id || user != "" && string(t.User) == user
		}, time.Now())
		if err != nil {
			return err
		}
		for _, t := range revoked {
			fmt.Fprintf(p.stdout, "revoked %s of %s\n", t.ID, t.User)
		}
		return nil
	}
	return cmd
}
