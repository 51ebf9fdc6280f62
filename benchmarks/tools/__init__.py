"""What every benchmark uses: settings, results, pictures, scores and seconds."""
