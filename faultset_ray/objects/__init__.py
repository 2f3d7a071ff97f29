"""Objects over the shards of many stores."""
