"""The gate, a process that holds the clients' connections and releases answers at a pace."""
