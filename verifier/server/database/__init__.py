"""The verdict database: tables, migrations, series, leases."""
