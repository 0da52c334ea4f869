UPDATE z SET doc = json_set(doc, '$.b', 3);
