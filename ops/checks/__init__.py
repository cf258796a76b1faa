"""What `laurels doctor` looks at. A check says what it found and, where that is not well, how to mend it."""
