"""fnd_mock"""
