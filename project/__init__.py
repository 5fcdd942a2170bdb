"""This repository's descriptors: `s.yaml`, `template.yml`, policies, `.env`; never deployed."""
