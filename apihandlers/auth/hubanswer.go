package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// The sorts of answers, as they are counted. A token is unasked whose turn did
// not come in time.
const (
	answerYes     = "yes"
	answerNo      = "no"
	answerUnfit   = "unfit"
	answerFailed  = "failed"
	answerUnasked = "unasked"
)

// hubAnswer is what we read of the Hub's answer; nil means that it knows no
// such token.
type hubAnswer struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	TokenID string   `json:"token_id"` // since JupyterHub 5
	Scopes  []string `json:"scopes"`   // since JupyterHub 2
}

// ask asks the Hub whose the token is. An error means that it did not say.
func (h *Hub) ask(ctx context.Context, token string) (*hubAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.user, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "token "+token)
	request.Header.Set("Accept", "application/json")
	response, err := h.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	// A body that was read to its end leaves the connection for the next question.
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHubAnswer+1))
	switch {
	case response.StatusCode == http.StatusUnauthorized, response.StatusCode == http.StatusForbidden:
		return nil, nil
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("unexpected status %d", response.StatusCode)
	case err != nil:
		return nil, err
	case len(body) > maxHubAnswer:
		return nil, fmt.Errorf("the response has more than %d bytes", maxHubAnswer)
	}
	var answer hubAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the response is not a user in JSON: %w", err)
	}
	if answer.Kind == "" || answer.Name == "" {
		return nil, fmt.Errorf("the response has no kind or no name")
	}
	return &answer, nil
}

// tokenID is the form of the Hub's name for a token, which is no secret.
var tokenID = regexp.MustCompile(`^[a-z][0-9]{1,18}$`)

// judge decides by the Hub's answer. Who is known, but may not come in, is told
// so by 403: a 401 would make git forget a token that holds.
//
// Every token may ask the Hub who it is, also one that a user gave to some other
// service for something small. So the name alone proves nothing: the token must
// have the scope for this service, or for all. The Hub lists scopes fully
// expanded, where !service has become !service=<name>, and grants a service by
// exactly these two forms; a filter of another sort, such as !group=<name>, is
// about something else and lets nobody in.
func (h *Hub) judge(answer *hubAnswer) (word string, v hubVerdict) {
	const op = "auth.Hub"
	if answer == nil {
		return answerNo, hubVerdict{refusal: dm.Errorf(dm.Unauthenticated, op, "JupyterHub does not accept the token")}
	}
	// A service is not the person who happens to have its name.
	if answer.Kind != "user" {
		return answerUnfit, hubVerdict{refusal: apihandlers.Unfit(op, "the token belongs to a JupyterHub %s, not to a user", kindWord(answer.Kind))}
	}
	user, err := dm.ParseUserName(answer.Name)
	if err != nil {
		return answerUnfit, hubVerdict{refusal: apihandlers.Unfit(op, "JupyterHub's name for the token's user is not allowed here: %s", dm.Public(err))}
	}
	v = hubVerdict{user: user, auth: fromHub}
	if slices.Contains(h.reserved, user) {
		v.refusal = apihandlers.Unfit(op, "the user name %s is reserved here, see the option hub.reserved", user)
		return answerUnfit, v
	}
	if tokenID.MatchString(answer.TokenID) {
		v.auth += ":" + answer.TokenID
	}
	if !slices.Contains(answer.Scopes, h.scope) && !slices.Contains(answer.Scopes, "access:services") {
		v.refusal = apihandlers.Unfit(op, "the token lacks the scope %s; add it to Spawner.server_token_scopes and to a role of the user in JupyterHub, then restart the user's server", h.scope)
		return answerUnfit, v
	}
	return answerYes, v
}

// kindWord keeps the Hub's words out of ours.
func kindWord(kind string) string {
	if kind == "service" {
		return kind
	}
	return "thing"
}
