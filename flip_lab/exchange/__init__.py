"""Other tools' formats, as plain data: this room knows no store and no engine."""
