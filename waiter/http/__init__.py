"""HTTP exchanges with the API: the only core package that opens sockets."""
