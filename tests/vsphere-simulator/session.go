// The sessions that are valid here, seen from the library's cookies; tests can
// expire them all.

package main

import (
	"crypto/subtle"
	"net/http"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

const sessionCookie = "vmware_soap_session"

type sessions struct {
	user, password string

	mu  sync.Mutex
	ids map[string]bool
}

func (s *sessions) known(r *http.Request) bool {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[cookie.Value]
}

// mayRead says whether a request for a datastore's file comes with a session
// or with the user's name and password.
func (s *sessions) mayRead(r *http.Request) bool {
	user, password, given := r.BasicAuth()
	return s.known(r) || given &&
		subtle.ConstantTimeCompare([]byte(user), []byte(s.user)) == 1 &&
		subtle.ConstantTimeCompare([]byte(password), []byte(s.password)) == 1
}

// watch notes sessions that the library made or ended. Its cookie is passed on
// in quotes, as hosts write it.
func (s *sessions) watch(c *call, a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	response := http.Response{Header: a.header}
	for _, cookie := range response.Cookies() {
		if cookie.Name == sessionCookie {
			s.ids[cookie.Value] = true
			a.header.Set("Set-Cookie", sessionCookie+`="`+cookie.Value+`"; Path=/; HttpOnly; Secure;`)
		}
	}
	if a.failed() {
		return
	}
	switch c.method.Name {
	case "Logout":
		if cookie, err := c.request.Cookie(sessionCookie); err == nil {
			delete(s.ids, cookie.Value)
		}
	case "TerminateSession":
		for _, id := range c.method.Body.(*types.TerminateSession).SessionId {
			delete(s.ids, id)
		}
	}
}

// expire forgets all sessions, as a host does after idling or a restart.
func (s *sessions) expire() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := len(s.ids)
	s.ids = make(map[string]bool)
	return count
}
