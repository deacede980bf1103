"""`python -m conduit_relay`: the same as the installed `conduit_relay_node_viewer`."""

from conduit_relay.cli import main

raise SystemExit(main())
