"""fnd_process"""
