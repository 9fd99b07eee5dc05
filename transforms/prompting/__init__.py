"""What a model is shown and asked, and its answers as text: rendering and parsing."""
