//! What `volumectl --help` says at its end: the environment, and exit codes.

/// Of the whole program.
pub(super) const AFTER_HELP: &str = "\
Environment:
  VOLUMED_URL  address of the daemon, https://HOST:PORT or http://127.0.0.1:PORT; goes before VOLUMED_SOCKET
  VOLUMED_TOKEN_FILE  as --token-file
  VOLUMED_CA_FILE  as --ca-file
  VOLUMED_FINGERPRINT  as --fingerprint
  VOLUMED_CERTIFICATE  as --certificate
  VOLUMED_KEY  as --key
  VOLUMED_SOCKET  Unix socket of the daemon; /run/volumed/volumed.sock where neither is set

Exit codes:
  0  done
  1  failed, or refused by the daemon
  2  wrong usage
  3  no daemon answers
  4  outcome unknown: no answer in time, or the operation has not ended in time and goes on
  5  the daemon is not ready";
