"""How things look in a notebook and in a report: tables in HTML and small pictures in SVG, as text. Every name and text is escaped."""
