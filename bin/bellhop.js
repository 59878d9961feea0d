#!/usr/bin/env node
// The installed command: runs the built command line.

import "../dist/src/main.js";
