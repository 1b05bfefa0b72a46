"""Files that clients send in parts: kept below the lab, checked before they count."""
