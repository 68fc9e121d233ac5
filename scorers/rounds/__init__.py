"""What follows a submission until its proposal's verdict is final: rounds, and what the other scorers say."""
