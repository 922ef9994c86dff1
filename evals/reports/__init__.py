"""What was measured, told to people and to build servers: terminal, HTML, Markdown, JUnit XML."""
